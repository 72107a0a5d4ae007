"""Two workers make of a log what one process makes, to the byte."""

import gzip
import json
import os
import shutil
import signal

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines import CountingEngine, opened
from syncrec.config import PrepareConfig
from syncrec.data.prepare import Source, prepare
from syncrec.errors import DataError, SyncrecError, WorkerError

HEADER = "user,item,domain,timestamp"


def contents(dataset):
    """Every file of a dataset by name, the manifest among them."""
    return {path.name: path.read_bytes() for path in sorted(dataset.path.iterdir())}


def outcome(sources, out, engine, **options):
    """(files of the dataset or the error's text, lines reported)."""
    lines = []
    named = {key: options.pop(key) for key in ("columns", "preset") if key in options}
    try:
        config = PrepareConfig(**{"min_user_interactions": 1, **options})
        dataset = prepare(sources, out, config, engine=engine, report=lines.append, **named)
    except SyncrecError as error:
        return str(error), lines
    return contents(dataset), lines


def assert_equal(engine, place, sources, **options):
    """Both ways give the same bytes and lines, or the same error, known when all is read; and leave nothing else."""
    here = outcome(sources, place / "here", None, **options)
    there = outcome(sources, place / "there", engine, **options)
    assert there[0] == here[0]
    assert here[1] == (there[1] if isinstance(here[0], dict) else there[1][: len(here[1])])
    made = {"here", "there"} if isinstance(here[0], dict) else set()
    assert {path.name for path in place.iterdir() if path.is_dir()} == made
    return here[0]


def write(path, lines, header=HEADER):
    path.write_text("".join(f"{line}\n" for line in ([header] if header else []) + lines))
    return Source(str(path))


def random_lines(seed, num_events, num_users=30, num_items=20):
    """A few users and items have most events; few times, so many ties; item i is of domain i % 3."""
    rows = np.random.default_rng(seed).random((num_events, 3)) ** 2 * (num_users, num_items, 6)
    return [f"u{u},i{i},D{i % 3},{t * 1000}" for u, i, t in rows.astype(int)]


LOGS = st.lists(  # of files, of rows (user, item, time)
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 7), st.integers(0, 4)), max_size=30), min_size=1, max_size=4
)
SETTINGS = st.fixed_dictionaries(
    {
        "min_user_interactions": st.integers(1, 4),
        "min_item_interactions": st.integers(1, 4),
        "min_user_domains": st.integers(1, 3),
        "max_history": st.sampled_from([None, 3, 5]),
        "drop_repeats": st.booleans(),
        "ties": st.sampled_from(["input", "shuffle"]),
        "bad_rows": st.sampled_from(["refuse", "skip"]),
    }
)
SPLITS = st.sampled_from(
    [{}, *({"split": "temporal", "validation_from": a, "test_from": b} for a, b in [("0.5", "0.8"), ("2", "4")])]
)


@given(LOGS, SETTINGS, SPLITS, st.booleans())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_log_gives_the_same_bytes_or_the_same_error(processes, tmp_path, files, options, split, has_bad_row):
    place = tmp_path / "job"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    sources = []
    for number, rows in enumerate(files):
        lines = [f"u{user},i{item},D{item % 3},{time}" for user, item, time in rows]
        sources.append(
            write(place / f"{number}.csv", lines[:3] + ["u1,,D1,5"] * (has_bad_row and number == 1) + lines[3:])
        )
    assert_equal(processes, place, sources, **options, **split)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_user_interactions": 7, "min_item_interactions": 9, "min_user_domains": 2},
        {"drop_repeats": True, "max_history": 4},
        {"split": "temporal", "validation_from": "0.6", "test_from": "0.9"},
        {"ties": "shuffle", "seed": 3},
    ],
    ids=str,
)
def test_two_workers_of_each_engine_give_the_same_bytes(engine, tmp_path, options):
    sources = [write(tmp_path / f"{n}.csv", random_lines(n, 100)) for n in range(3)]
    made = assert_equal(engine, tmp_path, sources, **options)
    core = next(step for step in json.loads(made["manifest.json"])["filters"] if step["name"] == "k-core")
    assert core["rounds"] >= (5 if "min_user_domains" in options else 0)


def test_ties_keep_the_order_of_files_given_then_rows(processes, tmp_path):
    second = write(tmp_path / "second.csv", ["u,a,B,5", "u,c,B,5", "w,a,B,1"])
    first = write(tmp_path / "first.csv", ["u,b,B,5", "u,z,B,1", "w,c,B,1"])
    named = {"forth": [second, first], "back": [first, second]}
    made = [assert_equal(processes, _folder(tmp_path / name), sources) for name, sources in named.items()]
    assert made[0]["items.npy"] != made[1]["items.npy"]


def _folder(path):
    path.mkdir()
    return path


def test_shuffled_ties_of_several_buckets_are_shuffled_alike(processes, tmp_path):
    """600,000 events: three buckets, so the two parts end at a bucket's end."""
    random = np.random.default_rng(0)
    users, items, times = random.integers(0, [[20_000], [500], [9]], (3, 600_000))
    frame = pl.DataFrame({"user": users, "item": items, "timestamp": times * 1000})
    for number in range(3):
        frame[number::3].write_csv(tmp_path / f"{number}.csv")
    counting = CountingEngine(processes)
    assert_equal(counting, tmp_path, [Source(str(tmp_path / "*.csv"), "Shop")], ties="shuffle", seed=5)
    assert counting.calls[:3] == ["_read", "_deal", "_sort"]


def test_every_notation_and_domains_by_file_give_the_same_bytes(processes, tmp_path):
    rows = [{"user_id": f"u{n % 7}", "parent_asin": f"b{n % 5}", "timestamp": n % 3} for n in range(60)]
    with gzip.open(tmp_path / "books.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    films = pl.DataFrame(rows).with_columns(pl.col("parent_asin").str.replace("b", "f"))
    films.write_parquet(tmp_path / "films.parquet")
    sources = [Source(str(tmp_path / "films.parquet"), "Films"), Source(str(tmp_path / "books.jsonl.gz"), "Books")]
    made = assert_equal(processes, tmp_path, sources, preset="amazon-2023")
    assert json.loads(made["manifest.json"])["domains"] == ["Films", "Books"]


def test_bad_rows_of_several_files_are_listed_in_order(processes, tmp_path):
    broken = ['{"user": "u", "item": "a", "domain": "A", "timestamp": 3}', "no json", '{"user": "u"}']
    (tmp_path / "one.jsonl").write_text("\n".join(broken))
    sources = [Source(str(tmp_path / "one.jsonl")), write(tmp_path / "two.csv", ["u,a,A,soon", *["u,a,A,1"] * 3])]
    made = assert_equal(processes, tmp_path, sources, bad_rows="skip")
    assert [line.split(b",")[1] for line in made["rejects.csv"].splitlines()] == [b"line", b"2", b"3", b"2"]


@pytest.mark.parametrize(
    ("lines", "options", "fault"),
    [
        ([["u,a,A,1"], ["u,a,A,x"]], {}, "1.csv:2: timestamp 'x' is no number"),
        ([["u,a,A,1"], ["u,b,A,1", "u,a,B,1"]], {}, "item 'a' is in two domains, 'A' and 'B'"),
        ([["u,a,A,1"], ["u,b,A,1"]], {}, "no user has 3, the longest history has 2"),
        ([[], []], {}, "the log holds no events"),
        ([random_lines(0, 40)], {"min_user_domains": 4}, "nothing is left by the filter k-core"),
    ],
)
def test_what_one_process_refuses_is_refused_in_the_same_words(processes, tmp_path, lines, options, fault):
    sources = [write(tmp_path / f"{number}.csv", rows) for number, rows in enumerate(lines)]
    assert fault in assert_equal(processes, tmp_path, sources, **options)


def test_a_relative_path_is_named_as_it_was_given(processes, tmp_path, monkeypatch):
    write(tmp_path / "log.csv", ["u,a,A,x"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^log\.csv:2: "):
        prepare([Source("log.csv")], tmp_path / "out", PrepareConfig(), engine=processes)


class BreakingEngine(CountingEngine):
    """At the call of one of its functions the first worker is killed instead."""

    def __init__(self, engine, name):
        super().__init__(engine)
        self.name = name

    def map(self, function, tasks):
        return super().map(die if function.__name__ == self.name else function, tasks)


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("step", ["_read", "_count", "_describe_part"])
def test_a_killed_worker_leaves_nothing_half_written(tmp_path, step):
    source = write(tmp_path / "log.csv", random_lines(0, 100))
    with opened("processes") as engine:
        breaking = BreakingEngine(engine, step)
        with pytest.raises(WorkerError, match=r"^a worker process was killed, perhaps for want of memory; give it mo"):
            prepare([source], tmp_path / "out", PrepareConfig(), engine=breaking)
    assert breaking.calls[-1] == "die"
    assert [path.name for path in tmp_path.iterdir()] == ["log.csv"]


class HidingEngine:
    """Workers that see nothing below `hidden`: it is moved away while they work."""

    num_workers = 1

    def __init__(self, hidden):
        self.hidden = hidden

    def map(self, function, tasks):
        away = self.hidden.rename(self.hidden.with_name("away"))
        try:
            return iter([function(task) for task in tasks])
        finally:
            away.rename(self.hidden)


def test_a_log_that_a_worker_does_not_see_is_named(tmp_path):
    _folder(tmp_path / "logs")
    source = write(tmp_path / "logs" / "log.csv", ["u,a,A,1"])
    with pytest.raises(WorkerError, match=r"log\.csv: a worker does not see it; raw logs must lie where all workers"):
        prepare([source], tmp_path / "out", PrepareConfig(), engine=HidingEngine(tmp_path / "logs"))


def test_a_place_that_a_worker_does_not_see_is_named(tmp_path):
    source = write(tmp_path / "log.csv", ["u,a,A,1"])
    place = _folder(tmp_path / "place")
    with pytest.raises(WorkerError, match=r"not there on the worker on .*; --out must lie in a directory that all"):
        prepare([source], place / "out", PrepareConfig(), engine=HidingEngine(place))
    assert list(place.iterdir()) == []
