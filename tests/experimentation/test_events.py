import polars as pl
import pytest
from polars.testing import assert_frame_equal

from syncrec.errors import DataError
from syncrec.experimentation.events import Event, event_frame, read_events
from syncrec.experimentation.impressions import with_clicks

HEAD = "user,item,domain,timestamp,kind,event_id,request_id,arm,position,propensity"
ROW = "alice,b1,books,1764000000,impression,e1,r1,control,1,0.25"


def log(tmp_path, *rows, head=HEAD):
    path = tmp_path / "events.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_row_becomes_an_event(tmp_path):
    found = read_events([log(tmp_path, ROW)])
    expected = Event("e1", "impression", "alice", "books", "b1", 1_764_000_000.0, "r1", "control", 1, 0.25, None)
    assert_frame_equal(found, event_frame([expected]))


def test_files_of_both_kinds_are_read_alike_and_one_after_another(rehearsal):
    csv, parquet = read_events([rehearsal / "events.csv"]), read_events([rehearsal / "events.parquet"])
    assert_frame_equal(csv, parquet)
    assert read_events([rehearsal / "events.csv", rehearsal / "events.parquet"]).height == 2 * csv.height


def test_columns_that_are_not_needed_may_be_missing(tmp_path):
    head = "kind,user,domain,item,timestamp,request_id,arm"
    path = log(tmp_path, "click,a,books,i,2026-11-24T12:00:00Z,r,", head=head)
    found = read_events([path]).row(0, named=True)
    assert (found["timestamp"], found["propensity"], found["arm"]) == (1_795_521_600.0, None, None)


def test_other_kinds_are_ignored_whatever_is_in_them(tmp_path):
    assert read_events([log(tmp_path, ROW, ",,,,purchase,,,,,")]).height == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROW.replace("alice", ""), r"events.csv:3: user None is empty"),
        (ROW.replace("1764000000", "yesterday"), r"events.csv:3: timestamp 'yesterday' is no time"),
        (ROW.replace(",1,", ",first,"), r"events.csv:3: position 'first' is no number"),
        (ROW.replace("0.25", "1.5"), r"events.csv:3: propensity '1.5' is not in \(0, 1\]"),
        (ROW.replace("0.25", "0"), r"events.csv:3: propensity '0' is not in \(0, 1\]"),
        (ROW.replace("impression", ""), r"events.csv:3: kind None is empty"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, row, said):
    with pytest.raises(DataError, match=said):
        read_events([log(tmp_path, ROW, row)])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.csv", None, "gone.csv: no such file"),
        ("log.json", "{}", "events are read from .csv and .parquet files"),
        ("log.parquet", "no parquet", "log.parquet: cannot be read"),
        ("log.csv", "", "log.csv: cannot be read"),
        (
            "log.csv",
            "kind,user\n",
            "no column 'domain', 'item', 'timestamp', 'request_id', 'arm'; its columns are kind",
        ),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said) as error:
        read_events([tmp_path / name])
    assert "\n" not in str(error.value)


def test_a_click_belongs_to_the_impression_of_its_request_and_item():
    def event(number, kind, item, request):
        return Event(f"e{number}", kind, "u", "d", item, float(number), request, "a")

    events = [
        event(1, "impression", "x", "r1"),
        event(2, "impression", "y", "r1"),
        event(3, "impression", "x", "r2"),
        event(4, "click", "y", "r1"),
        event(5, "click", "y", "r1"),
        event(6, "click", "z", "r2"),
        event(7, "impression", "x", None),
        event(8, "impression", "y", "r1"),
        event(3, "impression", "x", "r3"),
    ]
    shown, num_stray = with_clicks(event_frame(events))
    assert shown.select("request_id", "item", "clicked").rows() == [("r1", "x", 0), ("r1", "y", 1), ("r2", "x", 0)]
    assert num_stray == 1
    assert with_clicks(event_frame([]).with_columns(pl.all()))[0].is_empty()
