"""Physical lines of a text file, plain or compressed: the slow walk that finds the line a row came from.

Used for headers and after something went wrong; the fast readers know rows, not lines.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from syncrec.data.formats import Format
from syncrec.errors import DataError

__all__ = ["broken_gzip", "csv_rows", "damage", "iterate_lines", "json_rows", "replace_broken_lines", "row_lines"]

_BLOCK = 1 << 20
_LONGEST_FIELD = 2**31 - 1
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def iterate_lines(path: Path, notation: Format) -> Iterator[bytes]:
    """Every line of the file with its line end, decompressed on the way."""
    if notation.compression == ".zst":
        for batch in pl.scan_lines(path, glob=False).collect_batches(engine="streaming"):
            yield from (line.encode() + b"\n" for line in batch["line"])
        return
    with gzip.open(path) if notation.compression else path.open("rb") as file:
        yield from file


def csv_rows(path: Path, notation: Format) -> Iterator[tuple[int, list[str]]]:
    """(line it begins at, fields) of each row of a CSV file, its header among them; blank lines have no fields.

    Raises:
        DataError: a line has a carriage return that is neither quoted nor at its end.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    text = (
        line.decode("utf-8-sig" if number == 0 else "utf-8", "replace") for number, line in _numbered(path, notation)
    )
    reader = csv.reader(text, delimiter=notation.separator)
    begin = 1
    try:
        for fields in reader:
            yield begin, fields
            begin = reader.line_num + 1
    except csv.Error:
        raise DataError(
            f"{path}:{reader.line_num}: has \\r in the middle of a line; convert line ends to \\n"
        ) from None


def json_rows(path: Path, notation: Format) -> Iterator[tuple[int, Any]]:
    """(line, value) of each line of a JSON lines file that is not blank.

    Raises:
        DataError: a line is no JSON object.
    """
    for number, line in _numbered(path, notation):
        if line.strip():
            yield number + 1, _json_object(path, number + 1, line)


def row_lines(path: Path, notation: Format, rows: set[int], skip: int) -> dict[int, int]:
    """The 1-based physical line of each of `rows`, numbers of data rows from 0.

    `skip` is the number of lines of a CSV file up to its header, with it. Blank lines of a CSV file are rows to the
    fast reader and left out here. The rows of a Parquet file are its lines.
    """
    if notation.kind == "parquet":
        return {row: row + 1 for row in rows}
    if notation.kind == "csv":
        lines = ((line, bool(fields)) for line, fields in csv_rows(path, notation))
    else:
        lines = ((number + 1, True) for number, line in _numbered(path, notation) if line.strip())
    found: dict[int, int] = {}
    last = max(rows)
    for row, (line, is_filled) in enumerate(lines, start=-skip):
        if row in rows and is_filled:
            found[row] = line
        if row >= last:
            break
    return found


def broken_gzip(path: Path, notation: Format) -> str | None:
    """What is wrong with the compression of a gzip file, in words that follow `path`; None if nothing is.

    What comes out of a damaged file can look like a bad row long before the checksum at its end is met.
    """
    if notation.compression != ".gz":
        return None
    try:
        with gzip.open(path) as file:
            while file.read(_BLOCK):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        return f": broken gzip ({error}); fetch it again"
    return None


def damage(path: Path, notation: Format) -> str | None:
    """What makes the file unreadable as a whole, in words that follow `path`; None if nothing was found."""
    if broken := broken_gzip(path, notation):
        return broken
    try:
        for number, line in _numbered(path, notation):
            if fault := _fault_of_line(path, notation, number + 1, line):
                return f":{number + 1}: {fault}"
    except DataError as error:
        return str(error).removeprefix(str(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        return f": cannot be read ({str(error).splitlines()[0]}); fetch it again"
    return None


def _fault_of_line(path: Path, notation: Format, number: int, line: bytes) -> str | None:
    """What is wrong with one line of a file that could not be read, None if nothing is.

    Raises:
        DataError: the line is no JSON object.
    """
    try:
        line.decode()
    except UnicodeDecodeError:
        return "is not UTF-8; convert the file"
    if notation.kind == "jsonl" and line.strip():
        _json_object(path, number, line)
    if notation.kind == "csv" and line.count(b'"') % 2:
        return 'has a quote (") without a second one; quote the whole field and write each quote in it twice'
    return None


def _numbered(path: Path, notation: Format) -> Iterator[tuple[int, bytes]]:
    return enumerate(iterate_lines(path, notation))


def _json_object(path: Path, line_number: int, line: bytes) -> Any:
    if line.startswith(_BYTE_ORDER_MARK):
        raise DataError(f"{path}:{line_number}: begins with a byte order mark; save it as UTF-8 without one (no BOM)")
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{line_number}: is no JSON ({error.msg} at character {error.pos + 1})") from None
    except ValueError as error:
        raise DataError(f"{path}:{line_number}: is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}:{line_number}: is JSON, but no object with fields")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it has no {name}")


def replace_broken_lines(path: Path, notation: Format, copy: Path) -> list[tuple[int, str]]:
    """Write the JSON lines file to `copy`, an empty object for each line that is none; their (line, reason).

    Byte order marks are left out.
    """
    broken = []
    with copy.open("wb") as file:
        for number, marked in _numbered(path, notation):
            line = marked.removeprefix(_BYTE_ORDER_MARK)
            try:
                if line.strip():
                    _json_object(path, number + 1, line)
            except (DataError, UnicodeDecodeError) as error:
                broken.append((number + 1, str(error).removeprefix(f"{path}:{number + 1}: ")))
                file.write(b"{}\n")
            else:
                file.write(line)
    return broken
