"""The log that comes out is one that `prepare` takes."""

import csv

import pytest

from syncrec.config import PrepareConfig
from syncrec.data.prepare import Source, prepare
from syncrec.errors import DataError
from syncrec.experimentation.events import read_events
from syncrec.serving.store.export import Exported, export_events
from syncrec.serving.store.schema import Event, RequestRecord

ODD = 'b,"1" ✓'


def click(number, user, item, time, domain="books", kind="click"):
    return Event(f"e{number}", kind, user, domain, item, time)


def fill(store):
    store.add([click(1, "anna", ODD, 100), click(2, "anna", "f1", 90, "films"), click(3, "anna", "b2", 100)])
    store.add(
        [click(4, "ben", "b2", 70), click(5, "ben", "b2", 80, kind="impression"), click(6, "ben", "f1", 95, "films")]
    )
    store.add([click(7, "ben", ODD, 99, kind="purchase")])


def test_prepare_takes_it_and_keeps_the_order(store, tmp_path):
    fill(store)
    assert export_events(store, tmp_path / "log.csv") == Exported(6, 0)
    settings = PrepareConfig(min_user_interactions=1)
    dataset = prepare([Source(str(tmp_path / "log.csv"))], tmp_path / "data", settings)
    histories = [[dataset.item_id(int(i)) for i in dataset.history(user)] for user in range(dataset.num_users)]
    assert list(dataset.users) == ["anna", "ben"]
    assert histories == [["f1", ODD, "b2"], ["b2", "f1", ODD]]


def test_all_kinds_come_with_everything_that_is_known(store, tmp_path):
    store.add([Event("e1", "impression", "anna", "books", "b1", 5, "r1", "new", 2, 0.125), click(2, "anna", "b1", 6)])
    export_events(store, tmp_path / "all.csv", all_kinds=True)
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["impression", "click"]
    assert rows[0]["propensity"] == "0.125"
    assert rows[1]["propensity"] == ""
    assert set(rows[0]) == {
        *("user", "item", "domain", "timestamp", "kind", "event_id", "request_id", "arm", "position", "propensity"),
        *("latency_ms", "num_items", "status"),
    }


def test_the_requests_of_the_service_come_with_all_kinds_and_no_others(store, tmp_path):
    store.add([click(1, "anna", "b1", 6)])
    store.add_requests([RequestRecord("r1", "anna", "books", 5, "new", 1.5, 10, 200)])
    assert export_events(store, tmp_path / "log.csv").num_written == 1
    assert export_events(store, tmp_path / "all.csv", all_kinds=True).num_written == 2
    row = read_events([tmp_path / "all.csv"]).row(1, named=True)
    found = {name: row[name] for name in ("kind", "user", "item", "request_id", "latency_ms", "num_items", "status")}
    wanted = ["request", "anna", None, "r1", 1.5, 10.0, 200.0]
    assert list(found.values()) == wanted


def test_an_item_stays_in_its_first_domain(store, tmp_path):
    store.add([click(1, "anna", "b1", 1), click(2, "ben", "b1", 2, "films"), click(3, "ben", "b1", 3, "films")])
    told = []
    assert export_events(store, tmp_path / "log.csv", report=told.append) == Exported(1, 2)
    assert told == ["left out: item 'b1' of 'films', which is one of 'books'"]


def test_nothing_to_export_leaves_no_file(store, tmp_path):
    store.add([click(1, "anna", "b1", 1, kind="impression")])
    with pytest.raises(DataError, match="holds no events of the kinds click, purchase to export"):
        export_events(store, tmp_path / "log.csv")
    assert list(tmp_path.glob("*.csv*")) == []
