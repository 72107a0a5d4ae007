"""One raw file of any notation becomes batches of the same few columns, read in bounded memory.

Ids are read as text, so leading zeros stay; a whole number of a float column is the text of the integer. A frame of
`scan_rows` has the columns `row` (number of the data row from 0), `user`, `item`, `domain` (text, null if empty or
missing), `time` (ms, null if bad), `time_text` (what the time reads, only where `time` is null) and `extra` (the first
field too many, null if there is none).
"""

import csv
import glob
import itertools
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import polars as pl

from syncrec.data.formats import FIELDS, Preset, domain_column, find_columns
from syncrec.data.lines import csv_rows, damage, json_rows
from syncrec.data.sources import InputFile
from syncrec.data.timestamps import times_of_column
from syncrec.errors import DataError

__all__ = ["clear_read_errors", "header_lines", "ignored_domain_column", "scan_rows"]

_JSON_HEAD = 1000
_CSV_PIECE_BYTES = 4_000_000
_LAST_EXACT = 2**63


def scan_rows(file: InputFile, preset: Preset, mapped: Mapping[str, str]) -> pl.LazyFrame:
    """The rows of `file` in order, unread yet; columns as in the module's description.

    Raises:
        DataError: a column is missing, that of times has a type of none, or the head of the file cannot be read.
    """
    fields = [f for f in FIELDS if f != "domain" or file.domain is None]
    with clear_read_errors(file):
        names = _column_names(file, preset)
        columns = find_columns(file.path, names, fields, preset, mapped)
        frame, kinds = _scan(file, names, header_lines(file, preset))
        place = f"{file.path}: the column {names[columns['timestamp']]!r}"
        fields_and_time = _select(columns, kinds, place, file.format.kind == "csv")
        domain = [] if file.domain is None else [pl.lit(file.domain).alias("domain")]
        return frame.select(pl.col(_row_name(names)).alias("row"), *fields_and_time, *domain)


def ignored_domain_column(file: InputFile, preset: Preset, mapped: Mapping[str, str]) -> str | None:
    """The column of domains in a file whose events all belong to one that the user names; None if there is none."""
    return None if file.domain is None else domain_column(file.path, _column_names(file, preset), preset, mapped)


def header_lines(file: InputFile, preset: Preset) -> int:
    """How many lines of `file` come before its data: those up to the names of its columns, blank ones among them."""
    has_header = file.format.kind == "csv" and preset.header is None
    return _first_filled(file)[0] + 1 if has_header else 0


@contextmanager
def clear_read_errors(file: InputFile) -> Iterator[None]:
    """Turns what goes wrong while `file` is read into one line that says where.

    Raises:
        DataError: the file is damaged.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, EOFError, UnicodeError, zlib.error, csv.Error) as error:
        found = damage(file.path, file.format) if file.format.kind != "parquet" else None
        message = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{file.path}{found or f': cannot be read as {file.format.kind}: {message}'}") from None


def _column_names(file: InputFile, preset: Preset) -> list[str]:
    if file.format.kind == "parquet":
        return pl.scan_parquet(file.path, glob=False).collect_schema().names()
    if file.format.kind == "jsonl":
        head = itertools.islice(json_rows(file.path, file.format), _JSON_HEAD)
        names = list(dict.fromkeys(name for _, value in head for name in value))
    else:
        _, first = _first_filled(file)
        names = list(preset.header or first) if first else []
    if not names:
        raise DataError(f"{file.path}: the file is empty")
    return names


def _first_filled(file: InputFile) -> tuple[int, list[str]]:
    """How many blank lines a CSV file begins with, and the fields of the line after them; none if there is none."""
    rows = enumerate(fields for _, fields in csv_rows(file.path, file.format))
    return next(((number, fields) for number, fields in rows if fields), (0, []))


def _scan(file: InputFile, names: Sequence[str], num_skipped: int) -> tuple[pl.LazyFrame, list[pl.DataType]]:
    """The raw columns under the names "0", "1", ... (CSV: one more, for fields too many), and their types."""
    numbers = [str(index) for index in range(len(names) + 1)]
    if file.format.kind == "csv":
        # Polars keeps dozens of pieces of a file in flight; pieces of its own choice take four times the memory.
        os.environ.setdefault("POLARS_CSV_CHUNK_SIZE", str(_CSV_PIECE_BYTES))
        frame = pl.scan_csv(
            file.path,
            glob=False,
            has_header=False,
            skip_lines=num_skipped,
            separator=file.format.separator,
            schema=dict.fromkeys(numbers, pl.String),
            truncate_ragged_lines=True,
            missing_columns="insert",
            raise_if_empty=False,
            row_index_name=_row_name(names),
        )
        return frame, [pl.String()] * len(names)
    if file.format.kind == "jsonl":
        path = glob.escape(str(file.path))
        frame = pl.scan_ndjson(path, schema=dict.fromkeys(names, pl.String), row_index_name=_row_name(names))
    else:
        frame = pl.scan_parquet(file.path, glob=False, row_index_name=_row_name(names))
    kinds = dict(frame.collect_schema())
    return frame.rename(dict(zip(names, numbers, strict=False))), [kinds[name] for name in names]


def _row_name(names: Sequence[str]) -> str:
    """A name for the number of the row that is none of the columns `names`."""
    return next(name for n in itertools.count() if (name := f"row{'_' * n}") not in names)


def _select(columns: Mapping[str, int], kinds: Sequence[pl.DataType], place: str, is_csv: bool) -> list[pl.Expr]:
    """All columns that a frame of `scan_rows` has, but `row` and a domain of the whole file."""
    ids = [_id_column(str(index), kinds[index]).alias(name) for name, index in columns.items() if name != "timestamp"]
    index = columns["timestamp"]
    raw = pl.col(str(index))
    time = times_of_column(raw, kinds[index], place)
    text = pl.when(time.is_null()).then(raw.cast(pl.String))
    extra = pl.col(str(len(kinds))) if is_csv else pl.lit(None, pl.String)
    return [*ids, time.alias("time"), text.alias("time_text"), extra.alias("extra")]


def _id_column(name: str, kind: pl.DataType) -> pl.Expr:
    """The text of a column, null where it is empty.

    A column of integers with gaps is one of floats to other programs: 7.0 is the id 7, and NaN is empty.
    """
    column = pl.col(name)
    text = column.cast(pl.String)
    if kind.is_float():
        is_whole = (column == column.floor()) & (column.abs() < _LAST_EXACT)
        whole = column.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(is_whole).then(whole).when(column.is_not_nan()).then(text)
    return pl.when(text != "").then(text)
