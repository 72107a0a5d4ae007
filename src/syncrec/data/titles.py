"""Titles of items, for people who read reports."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from syncrec.errors import DataError

__all__ = ["ItemTitles", "read_titles"]

_COLUMNS = ("item", "title")


@dataclass(frozen=True)
class ItemTitles:
    """Title by (domain, item id); a domain of None is any."""

    of_item: Mapping[tuple[str | None, str], str] = field(default_factory=dict)

    def title(self, domain: str, item: str) -> str | None:
        """The title of an item, None if it has none."""
        return self.of_item.get((domain, item)) or self.of_item.get((None, item))


def read_titles(path: Path) -> ItemTitles:
    """Titles from a CSV file, plain or `.gz`, with the columns item, title and, if ids need it, domain.

    Of an item that is there twice the last title counts.

    Raises:
        DataError: there is no such file, a column is missing, or it cannot be read as UTF-8 text.
    """
    try:
        with _opened(path) as file:
            return ItemTitles(dict(_entries(path, file)))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; --items takes a CSV with the columns item,title[,domain]") from None
    except (UnicodeDecodeError, csv.Error, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as CSV in UTF-8: {error}") from None


def _opened(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _entries(path: Path, file: TextIO) -> Iterator[tuple[tuple[str | None, str], str]]:
    reader = csv.DictReader(file)
    found = reader.fieldnames or []
    for column in _COLUMNS:
        if column not in found:
            raise DataError(f"{path}:1: no column {column!r}; --items takes item,title[,domain], got {','.join(found)}")
    for row in reader:
        if row["item"] is None or row["title"] is None:
            raise DataError(f"{path}:{reader.line_num}: fewer columns than the header has ({','.join(found)})")
        yield (row.get("domain") or None, row["item"]), row["title"]
