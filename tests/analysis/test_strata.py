import numpy as np
import pytest

from syncrec.analysis.strata import accuracy_by_stratum, stratifications
from syncrec.evaluation import load_result, result_path


@pytest.fixture(scope="module")
def found(hostile_run):
    return stratifications(hostile_run.dataset, hostile_run.dataset.queries("test"))


def test_kinds_of_queries_are_those_of_a_loop(hostile_run, found):
    dataset, queries = hostile_run.dataset, hostile_run.dataset.queries("test")
    lengths, popularity, shares = found
    for query in range(len(queries)):
        history = dataset.items[queries.history_starts[query] : queries.target_events[query]]
        own = int((dataset.domain_of(history) == queries.domains[query]).sum())
        limits = [own <= limit for limit in (0, 2, 5, 10)]
        assert lengths.numbers[query] == (limits.index(True) if True in limits else 4)
        foreign = 1 - own / len(history)
        expected = ["0 %", "up to 25 %", "up to 50 %", "up to 75 %", "under 100 %", "100 %"]
        under = [foreign <= 0, foreign <= 0.25, foreign <= 0.5, foreign <= 0.75, foreign < 1, True]
        assert shares.labels[shares.numbers[query]] == expected[under.index(True)]
        start, stop = dataset.item_range(int(queries.domains[query]))
        counts = np.asarray(dataset.item_counts[start:stop])
        own_count = dataset.item_counts[queries.targets[query]]
        place = ((counts < own_count).sum() + (counts <= own_count).sum()) / 2 / len(counts)
        assert popularity.labels[popularity.numbers[query]] == str(min(10, int(10 * place) + 1))


def test_strata_add_up_to_the_result(hostile_run, found):
    result = load_result(result_path(hostile_run.path, "test", "full"))
    accuracy = accuracy_by_stratum(result, found[0])
    for domain in result.domains:
        rows = [row for row in accuracy["rows"] if row["domain"] == domain]
        counts = [row["num_queries"] for row in rows]
        assert sum(counts) == result.num_queries[domain]
        mean = np.average([row["answers"]["fused"] for row in rows], weights=counts)
        assert mean == pytest.approx(result.summary("fused").domains[domain]["ndcg@10"])
    together = [row for row in accuracy["rows"] if row["domain"] is None]
    assert sum(row["num_queries"] for row in together) == len(result.users)
