import numpy as np
import pytest

import syncrec
from syncrec.analysis.strata import accuracy_by_stratum, stratifications, weeks_after_training
from syncrec.evaluation import load_result, result_path


@pytest.fixture(scope="module")
def found(hostile_run):
    dataset = hostile_run.dataset
    return stratifications(dataset, dataset.queries("test"), np.asarray(dataset.train_end))


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


def test_a_log_cut_in_time_tells_how_old_the_model_is(tmp_path):
    day = 86_400
    days = [*range(20), 21, 33, 34, 35, 49, 200]  # of which ten are trained on
    rows = [f"u{user},i{n},d,{day * (place + 1)}" for user in range(3) for n, place in enumerate(days)]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,domain,timestamp", *rows]) + "\n")
    cuts = {"split": "temporal", "validation_from": str(day * 11), "test_from": str(day * 21)}
    dataset = syncrec.prepare(tmp_path / "log.csv", out=tmp_path / "data", **cuts)
    queries = dataset.queries("test")
    assert len(queries) == 3 * 6
    ends = np.asarray(dataset.train_end)
    assert weeks_after_training(dataset, queries, ends)[:6] * 7 == pytest.approx([12, 24, 25, 26, 40, 191])
    found = stratifications(dataset, queries, ends)[0]
    assert found.title == "weeks since training"
    assert [found.labels[number] for number in found.numbers[:6]] == [
        "up to 2",
        *["up to 4"] * 3,
        "up to 8",
        "later",
    ]
    refitted = stratifications(dataset, queries, np.asarray(dataset.validation_end))[0]
    weeks = [2, 2, 4, 4, 8, 26]
    assert [refitted.labels[number] for number in refitted.numbers[:6]] == [f"up to {week}" for week in weeks]
