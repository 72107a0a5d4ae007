"""Bad rows: why each one is bad, in which line it stands, and the file they are written to when skipped."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from syncrec.artifacts import write_text
from syncrec.data.lines import row_lines
from syncrec.data.sources import InputFile

__all__ = ["REJECTS_NAME", "BadRow", "bad_rows", "is_bad", "write_rejects"]

REJECTS_NAME = "rejects.csv"


@dataclass(frozen=True)
class BadRow:
    """A row that holds no event: file, 1-based physical line (Parquet: row), the reason, and the value at fault."""

    file: str
    line: int
    reason: str
    value: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


def is_bad(batch: pl.DataFrame) -> pl.Series:
    """True for each row of a batch that lacks something or has a field too many."""
    missing = [pl.col(name).is_null() for name in ("user", "item", "domain", "time")]
    return batch.select(pl.any_horizontal(*missing, pl.col("extra").is_not_null())).to_series()


def bad_rows(file: InputFile, rows: pl.DataFrame, skip: int) -> list[BadRow]:
    """Why each of the bad `rows` of `file` is bad, in order; rows that are blank lines are none.

    `skip` is the number of lines up to the header, with it.
    """
    if rows.is_empty():
        return []
    lines = row_lines(file.path, file.format, set(rows["row"]), skip)
    return [
        BadRow(str(file.path), lines[values["row"]], *_explain(values))
        for values in rows.iter_rows(named=True)
        if values["row"] in lines
    ]


def _explain(values: dict[str, Any]) -> tuple[str, str]:
    """(reason, value at fault) of a bad row."""
    if values["extra"] is not None:
        return f"more fields than columns, from {values['extra']!r} on", str(values["extra"])
    for name in ("user", "item", "domain"):
        if not values[name]:
            return f"no {name}: the field is empty or missing", ""
    return _explain_time(values["time_text"])


def _explain_time(text: str | None) -> tuple[str, str]:
    if not text:
        return "no timestamp: the field is empty or missing", ""
    try:
        number = float(text)
    except ValueError:
        before_1970 = text[:4].isdigit() and text[4:5] == "-" and text[:4] < "1970"
        what = "lies before 1970" if before_1970 else "is no number or ISO-8601 date"
        return f"timestamp {text!r} {what}", text
    if number < 0:
        return f"timestamp {text!r} is negative", text
    what = "is beyond the year 5138, in seconds or milliseconds" if number >= 1e14 else "is no number or ISO-8601 date"
    return f"timestamp {text!r} {what}", text


def write_rejects(directory: Path, rows: Sequence[BadRow]) -> None:
    """Write `rows` to `rejects.csv` (file, line, reason, value)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(_table(rows))
    write_text(directory / REJECTS_NAME, text.getvalue())


def _table(rows: Sequence[BadRow]) -> Iterator[tuple[object, ...]]:
    yield ("file", "line", "reason", "value")
    yield from ((row.file, row.line, row.reason, row.value) for row in rows)
