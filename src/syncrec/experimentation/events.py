"""Logged events of a service as a table: what was shown to whom, what was clicked, how long an answer took.

| column | content | needed |
|---|---|---|
| `kind` | `impression`, `click`, or `request`: one answer, empty or not; others are ignored | yes |
| `user`, `domain` | ids | yes |
| `item` | its id; empty on a request | yes |
| `timestamp` | unix seconds or ISO-8601 | yes |
| `request_id` | of the answer; a click belongs to the impression of the same request and item | yes |
| `arm` | the experiment's arm that answered; empty outside of it | yes |
| `event_id` | one event however often it was sent | |
| `position` | place in the answer, from 1 | |
| `propensity` | probability with which the item was shown in this place, in (0, 1] | off-policy estimates |
| `latency_ms` | of a request | the guardrail `latency_ms` |
| `num_items` | items of a request's answer; without it, those whose impressions were logged count | |
| `status` | of a request, as in HTTP: from 500 on it failed | the guardrail `errors` |
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import polars as pl

from syncrec.data.timestamps import parse_times, times_of_column
from syncrec.errors import DataError

__all__ = ["KINDS", "Event", "clear_read_errors", "event_frame", "read_columns", "read_events"]

KINDS = ("impression", "click", "request")
_TEXTS = ("kind", "user", "domain", "item", "request_id", "arm", "event_id")
_NUMBERS = ("position", "propensity", "latency_ms", "num_items", "status")
_OPTIONAL = ("event_id", *_NUMBERS)
_NEVER_EMPTY = ("kind", "user", "domain")


class Event(NamedTuple):
    """One event; `timestamp` in unix seconds, `position` from 1, `propensity` in (0, 1]."""

    event_id: str | None
    kind: str
    user: str
    domain: str
    item: str | None
    timestamp: float
    request_id: str | None = None
    arm: str | None = None
    position: int | None = None
    propensity: float | None = None
    latency_ms: float | None = None
    num_items: int | None = None
    status: int | None = None


def event_frame(events: Iterable[Event]) -> pl.DataFrame:
    """A table of events that were not read from a file."""
    kinds = {name: pl.String() if name in _TEXTS else pl.Float64() for name in Event._fields}
    return pl.DataFrame(list(events), schema=kinds, orient="row")


def read_events(paths: Sequence[Path]) -> pl.DataFrame:
    """The events in CSV and Parquet files: the columns of `Event`, ids as text, all numbers as floats.

    Raises:
        DataError: a file is missing or damaged, a column is missing, or a row is bad (with its line in a CSV file).
    """
    return pl.concat([_read_one(path) for path in paths])


def _read_one(path: Path) -> pl.DataFrame:
    raw = read_columns(path, [name for name in Event._fields if name not in _OPTIONAL], _OPTIONAL)
    known = raw.filter(pl.col("kind").is_null() | pl.col("kind").is_in(KINDS))
    columns = [
        *(pl.col(name).cast(pl.String) for name in _TEXTS),
        _times(path, known),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in _NUMBERS),
    ]
    frame = known.select("row", *columns)
    _check_rows(path, known, frame)
    return frame.select(Event._fields)


def read_columns(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> pl.DataFrame:
    """Columns of a CSV or Parquet file and the number of each row from 0 (`row`); optional ones may be all empty.

    Raises:
        DataError: the file is missing or damaged, or a needed column is missing.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise DataError(f"{path}: events are read from .csv and .parquet files")
    with clear_read_errors(path):
        if path.suffix == ".csv":
            frame = pl.read_csv(path, infer_schema=False, row_index_name="row", glob=False)
        else:
            frame = pl.read_parquet(path, row_index_name="row", glob=False)
    if missing := [name for name in needed if name not in frame.columns]:
        found = ", ".join(name for name in frame.columns if name != "row")
        raise DataError(f"{path}: no column {', '.join(map(repr, missing))}; its columns are {found}")
    absent = [pl.lit(None, pl.String).alias(name) for name in optional if name not in frame.columns]
    return frame.with_columns(absent).select("row", *needed, *optional)


@contextmanager
def clear_read_errors(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a table is read into one line.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _times(path: Path, frame: pl.DataFrame) -> pl.Expr:
    """Unix seconds of the column `timestamp`, null where it holds no time.

    Raises:
        DataError: its type is none of times.
    """
    kind = frame.schema["timestamp"]
    if kind == pl.String:
        return pl.lit(parse_times(frame["timestamp"]) / 1000).alias("timestamp")
    return (times_of_column(pl.col("timestamp"), kind, f"{path}: timestamp") / 1000).alias("timestamp")


def _check_rows(path: Path, raw: pl.DataFrame, frame: pl.DataFrame) -> None:
    """Refuse the first bad row."""
    faults = [(frame[name].is_null(), name, "is empty") for name in _NEVER_EMPTY]
    faults.append((frame["timestamp"].is_null(), "timestamp", "is no time"))
    faults += [(frame[name].is_null() & raw[name].is_not_null(), name, "is no number") for name in _NUMBERS]
    no_probability = ~frame["propensity"].is_between(0, 1, closed="right").fill_null(value=True)
    faults.append((no_probability, "propensity", "is not in (0, 1]"))
    for is_bad, name, fault in faults:
        if is_bad.any():
            index = is_bad.arg_max() or 0
            line = f":{raw['row'][index] + 2}" if path.suffix == ".csv" else f": row {raw['row'][index] + 1}"
            raise DataError(f"{path}{line}: {name} {raw[name][index]!r} {fault}")
