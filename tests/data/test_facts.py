"""The facts of a dataset, counted by hand and against what `prepare` writes into the manifest."""

import json

from prepared import DAY_S, arrays_of, write
from syncrec.data.facts import dataset_facts

HISTORIES = [[0, 6, 1, 2, 9], [3, 1, 1, 4], [7, 6]]
TIMES = [[0, 5, 5, DAY_S, DAY_S], [1, 2, 3, 3], [8, 9]]


def facts_of(tmp_path):
    return dataset_facts(write(tmp_path / "dataset", arrays_of(HISTORIES, TIMES)))


def test_sizes_parts_and_times_of_each_domain(tmp_path):
    first, second = facts_of(tmp_path).domains
    assert (first.events, first.users, first.items, second.events, second.users, second.items) == (7, 2, 6, 4, 2, 4)
    assert (first.train_events, first.validation_events, first.test_events) == (4, 2, 1)
    assert (second.train_events, second.validation_events, second.test_events) == (3, 0, 1)
    assert (first.first, first.last) == ("1970-01-01T00:00:00", "1970-01-02T00:00:00")
    assert (second.first, second.last) == ("1970-01-01T00:00:05", "1970-01-02T00:00:00")


def test_cold_items_and_targets(tmp_path):
    first, second = facts_of(tmp_path).domains
    assert (first.cold_items, first.cold_validation, first.cold_test) == (3, 1, 1)  # 2, 4, 5; 2; 4
    assert (second.cold_items, second.cold_validation, second.cold_test) == (2, 0, 1)  # 8, 9; 9


def test_ties_in_all_and_at_the_split(tmp_path):
    ties = facts_of(tmp_path).ties
    assert (ties.neighbours, ties.tied, ties.tied_validation, ties.tied_test) == (4 + 3 + 1, 3, 0, 2)
    assert ties.whole_days == 3


def test_users_shared_and_without_targets(tmp_path):
    facts = facts_of(tmp_path)
    assert facts.shared_users == ((2, 1), (1, 2))
    assert facts.users_by_num_domains == (2, 1)
    assert facts.users_without_targets == 1
    assert (facts.lengths["mean"], facts.lengths["max"], facts.domains[1].lengths["min"]) == (11 / 3, 5, 2)


def test_they_agree_with_the_manifest_of_a_prepared_log(prepared, write_log):
    random = [f"u{n % 7},{'ab'[n % 2]}{n * n % 11},{'AB'[n % 2]},{n // 3}" for n in range(80)]
    dataset = prepared(write_log(*random))
    facts, manifest = dataset_facts(dataset), dataset.manifest
    statistics = manifest["statistics"]
    counts = {d.name: d.events for d in facts.domains}, {d.name: d.test_events for d in facts.domains}
    assert counts[0] == {name: entry["events"] for name, entry in manifest["counts"].items()}
    assert counts[1] == {name: entry["test_events"] for name, entry in manifest["counts"].items()}
    assert facts.ties.tied / facts.ties.neighbours == statistics["tied_timestamps"]
    assert [list(row) for row in facts.shared_users] == statistics["shared_users"]["matrix"]
    assert dict(facts.lengths) == statistics["history_lengths"]["all"]
    assert {"first": facts.first, "last": facts.last} == statistics["time_range"]


def test_they_are_json(tmp_path):
    facts = facts_of(tmp_path)
    assert json.loads(json.dumps(facts.to_json(), allow_nan=False))["domains"][1]["name"] == "B"
