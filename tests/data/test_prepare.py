"""The whole stage on small logs: what is in the dataset and in its manifest."""

import json
import subprocess
import sys

import numpy as np
import pytest

from syncrec.data import events as events_module
from syncrec.data import ordering
from syncrec.data.dataset import Dataset
from syncrec.errors import ArtifactError

# Ana: books b1, b2, toy t1, book b1 again; Bo: toys t2, t1; Cy: one of each and a toy that no one else has.
LINES = [
    "ana,b1,Books,100",
    "bo,t2,Toys,50",
    "ana,b2,Books,200",
    "bo,t1,Toys,60",
    "ana,t1,Toys,200",
    "cy,b1,Books,10",
    "ana,b1,Books,400",
    "cy,t1,Toys,20",
    "cy,t9,Toys,30",
]


@pytest.fixture
def dataset(write_log, prepared):
    return prepared(write_log(*LINES))


def test_ids_are_sorted_and_items_numbered_by_domain(dataset):
    assert list(dataset.users) == ["ana", "bo", "cy"]
    assert [list(table) for table in dataset.item_tables] == [["b1", "b2"], ["t1", "t2", "t9"]]
    assert (dataset.domains, dataset.item_offsets.tolist()) == (("Books", "Toys"), [0, 2, 5])


def test_ids_are_sorted_by_their_bytes(write_log, prepared):
    dataset = prepared(write_log(*(f"{user},i,B,{n}" for user in ("é", "z", "Z", "zz", "10", "9") for n in range(3))))
    assert list(dataset.users) == sorted(dataset.users, key=str.encode) == ["10", "9", "Z", "z", "zz", "é"]


def test_events_lie_by_user_in_time_order(dataset, history_of):
    assert history_of(dataset, "ana") == ["b1", "b2", "t1", "b1"]
    assert history_of(dataset, "bo") == ["t2", "t1"]
    assert dataset.timestamps.tolist() == [100, 200, 200, 400, 50, 60, 10, 20, 30]


def test_the_split_and_the_training_counts_fit_the_events(dataset):
    assert dataset.train_end.tolist() == [2, 6, 7]
    assert dataset.validation_end.tolist() == [3, 6, 8]
    # Training events: ana b1 b2, bo t2 t1, cy b1.
    assert dataset.item_counts.tolist() == [2, 1, 1, 1, 0]
    assert [len(dataset.queries(split)) for split in ("validation", "test")] == [2, 2]


def test_counts_by_domain_are_those_of_the_log(dataset):
    books = {"events": 4, "users": 2, "items": 2, "train_events": 3, "validation_events": 0, "test_events": 1}
    toys = {"events": 5, "users": 3, "items": 3, "train_events": 2, "validation_events": 2, "test_events": 1}
    assert dataset.manifest["counts"] == {"Books": books, "Toys": toys}


def test_statistics_are_those_counted_by_hand(dataset):
    statistics = dataset.manifest["statistics"]
    assert (statistics["events"], statistics["users"], statistics["items"]) == (9, 3, 5)
    assert statistics["users_without_targets"] == 1
    assert statistics["users_by_num_domains"] == {"1": 1, "2": 2}
    assert statistics["shared_users"] == {"domains": ["Books", "Toys"], "matrix": [[2, 2], [2, 3]]}
    # Of ana's three neighbours, bo's one and cy's two, ana's second and third event tie.
    assert statistics["tied_timestamps"] == 1 / 6
    assert statistics["cold_test_items"] == {"Books": 0.0, "Toys": 1.0}
    assert statistics["time_range"] == {"first": "1970-01-01T00:00:10", "last": "1970-01-01T00:06:40"}
    lengths = statistics["history_lengths"]
    assert (lengths["all"]["mean"], lengths["all"]["q50"], lengths["all"]["max"]) == (9 / 3, 3.0, 4)
    assert (lengths["by_domain"]["Books"]["mean"], lengths["by_domain"]["Toys"]["max"]) == (4 / 2, 2)


def test_a_domain_without_test_targets_has_no_share_of_cold_ones(write_log, prepared):
    dataset = prepared(write_log("u,a,A,1", "u,b,B,0", "u,b,B,2", "u,b,B,3"))
    assert dataset.manifest["statistics"]["cold_test_items"] == {"A": None, "B": 0.0}


def test_the_manifest_names_settings_files_and_filters(write_log, prepared, tmp_path):
    path = write_log(*LINES, header="who,item,domain,timestamp")
    manifest = prepared(path, columns={"user": "who"}, max_history=3).manifest
    assert manifest["settings"]["max_history"] == 3
    assert manifest["settings"]["columns"] == {"user": "who"}
    assert manifest["settings"]["sources"] == [{"file": "log.csv", "domain": None}]
    assert [step["name"] for step in manifest["filters"]] == ["k-core", "max-history"]
    assert manifest["filters"][1]["before"] == {"events": 9, "users": 3, "items": 5}
    assert manifest["filters"][1]["after"] == {"events": 8, "users": 3, "items": 5}
    assert str(tmp_path) not in json.dumps(manifest)


def test_ties_keep_the_order_of_files_given_then_rows(write_log, prepared, history_of):
    second = write_log("u,a,B,5", "u,c,B,5", name="second.csv")
    first = write_log("u,b,B,5", "u,z,B,1", name="first.csv")
    assert history_of(prepared(second, first), "u") == ["z", "a", "c", "b"]


def test_shuffled_ties_depend_on_the_seed_alone(write_log, prepared):
    path = write_log(*(f"u{n % 3},i{n},B,{n % 2}" for n in range(60)))
    items = [
        prepared(path, out=f"dataset-{number}", ties="shuffle", seed=seed).items.tolist()
        for number, seed in enumerate([1, 1, 2])
    ]
    assert items[0] == items[1] != items[2]


def test_events_within_one_second_keep_their_order_in_milliseconds(write_log, prepared, history_of):
    dataset = prepared(write_log("u,late,B,1500000000900", "u,early,B,1500000000100", "u,last,B,1500000001"))
    assert history_of(dataset, "u") == ["early", "late", "last"]
    assert dataset.timestamps.tolist() == [1_500_000_000, 1_500_000_000, 1_500_000_001]


def test_domains_of_options_come_first_and_in_their_order(write_log, prepared):
    mixed = write_log("u,a,Zoo,1", "u,b,Art,2")
    named = [write_log(f"u,{name},3", name=f"{name}.csv", header="user,item,timestamp") for name in ("toys", "books")]
    assert prepared(mixed, ("Toys", named[0]), ("Books", named[1])).domains == ("Toys", "Books", "Art", "Zoo")


def test_a_domain_that_the_filters_empty_is_left_out_and_mentioned(write_log, prepared):
    lines = []
    path = write_log("u,a,B,1", "u,a,B,2", "u,a,B,3", "u,x,Rare,4")
    dataset = prepared(path, min_item_interactions=2, report=lines.append)
    assert dataset.domains == ("B",)
    assert "note: domain 'Rare' has no events left and is not in the dataset" in lines


def test_a_log_of_one_domain_and_one_item_is_prepared(write_log, prepared):
    dataset = prepared(write_log("u,a,B,1", "u,a,B,2", "u,a,B,3"))
    assert (dataset.num_items, dataset.num_users, dataset.items.tolist()) == (1, 1, [0, 0, 0])


def test_two_runs_give_the_same_bytes(write_log, prepared):
    path = write_log(*LINES)
    directories = [prepared(path, out=name).path for name in ("one", "two")]
    contents = [{file.name: file.read_bytes() for file in directory.iterdir()} for directory in directories]
    assert contents[0] == contents[1]


def test_only_the_dataset_is_left_in_its_place(write_log, prepared, tmp_path):
    prepared(write_log(*LINES))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "log.csv"]


def test_the_size_of_chunks_and_buckets_changes_nothing(write_log, prepared, monkeypatch):
    random = np.random.default_rng(3)
    path = write_log(*(f"u{u},i{i},D{i % 3},{t}" for u, i, t in random.integers(0, (40, 30, 50), (800, 3))))
    settings = {"min_user_interactions": 3, "min_item_interactions": 2, "min_user_domains": 2, "drop_repeats": True}
    whole = prepared(path, out="whole", max_history=9, **settings)
    monkeypatch.setattr(events_module, "CHUNK_EVENTS", 7)
    monkeypatch.setattr(ordering, "BUCKET_EVENTS", 16)
    chunked = prepared(path, out="chunked", max_history=9, **settings)
    assert whole.manifest == chunked.manifest


def slow_histories(rows):
    """Histories from lists and dictionaries."""
    histories = {}
    for user, item, time in sorted(rows, key=lambda row: row[2]):
        histories.setdefault(user, []).append((item, time))
    return histories


def test_a_random_log_gives_the_histories_of_a_slow_version(write_log, prepared, history_of):
    random = np.random.default_rng(5)
    rows = [(f"u{u}", f"i{i}", int(t)) for u, i, t in random.integers(0, (30, 50, 90), (600, 3))]
    dataset = prepared(write_log(*(f"{u},{i},D{int(i[1:]) % 4},{t}" for u, i, t in rows)))
    expected = slow_histories(rows)
    assert {user: history_of(dataset, user) for user in dataset.users} == {
        user: [item for item, _ in events] for user, events in expected.items()
    }
    assert dataset.timestamps.tolist() == [time for user in sorted(expected) for _, time in expected[user]]


@pytest.mark.parametrize("name", ["items.npy", "users.utf8", "manifest.json"])
def test_a_dataset_with_a_missing_file_is_refused(name, dataset):
    (dataset.path / name).unlink()
    with pytest.raises(ArtifactError, match=r"missing|never finished"):
        Dataset(dataset.path)


def test_an_altered_dataset_is_refused(dataset):
    path = dataset.path / "timestamps.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="altered since it was written"):
        Dataset(dataset.path)


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("amazon_food_kitchen.csv.gz", {"Food": 2419, "Kitchen": 4725}),
        ("amazon_beauty_electronics.csv.gz", {"Beauty": 1875, "Electronics": 2599}),
    ],
)
def test_published_benchmarks_have_their_published_test_targets(name, targets, shared_log, prepared):
    dataset = prepared(shared_log(name), max_history=50)
    found = np.bincount(dataset.queries("test").domains)
    assert dict(zip(dataset.domains, found.tolist(), strict=True)) == targets


def test_five_domains_are_prepared_whole(shared_log, prepared):
    dataset = prepared(shared_log("amazon_five_domains_500_users.csv.gz"))
    assert (dataset.num_users, dataset.num_items, len(dataset.items)) == (500, 14_853, 16_123)
    assert dataset.domains == (
        "Books",
        "Clothing_Shoes_and_Jewelry",
        "Sports_and_Outdoors",
        "Toys_and_Games",
        "Video_Games",
    )


def test_reading_a_dataset_imports_no_polars():
    code = "import sys, syncrec.data.dataset; print('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"
