import numpy as np
import pytest

from syncrec.analysis.removal import removal_matrices, removal_ranks
from syncrec.evaluation import load_result, result_path
from syncrec.evaluation.metrics import ndcg
from syncrec.serving.recommender import Recommender

ANSWERS = ("fused", "cross", "single")


@pytest.fixture(scope="module")
def result(hostile_run):
    return load_result(result_path(hostile_run.path, "test", "full"))


@pytest.fixture(scope="module")
def matrices(hostile_run, result):
    return removal_matrices(hostile_run.trained, hostile_run.dataset, hostile_run.dataset.queries("test"), result)


def slow_rank(run, query, source, answer):
    """The target's rank after the history without `source`, one question at a time; None if nothing is left out."""
    dataset, queries = run.dataset, run.dataset.queries("test")
    events = range(queries.history_starts[query], queries.target_events[query])
    domains = {event: int(dataset.domain_of(dataset.items[event : event + 1])[0]) for event in events}
    if source not in list(domains.values())[-run.config.model.max_length :]:
        return None
    kept = [event for event in events if domains[event] != source]
    domain = int(queries.domains[query])
    found = Recommender(run.trained, dataset).for_history(
        [(dataset.domains[domains[event]], dataset.item_id(int(dataset.items[event]))) for event in kept],
        dataset.domains[domain],
        dataset.num_items,
        answer=answer,
        times=[int(dataset.timestamps[event]) for event in kept],
    )
    return 1 + [entry.item for entry in found].index(dataset.item_id(int(queries.targets[query])))


def test_ranks_are_those_of_one_question_at_a_time(hostile_run):
    queries = hostile_run.dataset.queries("test")
    affected, ranks = removal_ranks(hostile_run.trained, hostile_run.dataset, queries, 1, ANSWERS)
    places = {int(query): place for place, query in enumerate(affected)}
    for query in range(0, len(queries), 7):
        for answer in ANSWERS:
            expected = slow_rank(hostile_run, query, 1, answer)
            assert (None if query not in places else ranks[answer][places[query]]) == expected


def test_cells_hold_the_means_of_the_metric(hostile_run, result, matrices):
    cells = {(cell["target"], cell["source"]): cell for cell in matrices["answers"]["cross"]}
    names = hostile_run.dataset.domains
    assert set(cells) == {(target, source) for target in names for source in names}
    affected, ranks = removal_ranks(
        hostile_run.trained, hostile_run.dataset, hostile_run.dataset.queries("test"), 2, ["cross"]
    )
    without = result.answers["cross"].ranks.copy()
    without[affected] = ranks["cross"]
    mask = result.query_domains == 0
    cell = cells[names[0], names[2]]
    assert cell["without"] == pytest.approx(ndcg(without[mask], 10).mean())
    assert cell["full"] == pytest.approx(result.summary("cross").domains[names[0]]["ndcg@10"])
    assert cell["absolute"]["estimate"] == pytest.approx(cell["without"] - cell["full"])
    assert cell["num_affected"] == np.isin(np.flatnonzero(mask), affected).sum() <= cell["num_queries"] == mask.sum()


def test_only_answers_that_read_other_domains_have_a_matrix(matrices):
    assert sorted(matrices["answers"]) == ["cross", "fused"]


def test_other_domains_do_not_matter_to_the_single_answer(hostile_run, result):
    queries = hostile_run.dataset.queries("test")
    affected, ranks = removal_ranks(hostile_run.trained, hostile_run.dataset, queries, 1, ["single"])
    is_other = queries.domains[affected] != 1
    assert is_other.any()
    assert np.array_equal(ranks["single"][is_other], result.answers["single"].ranks[affected][is_other])
