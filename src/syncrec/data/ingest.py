"""Raw files become columns of integers on disk, in the order of the input, and a vocabulary."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import polars as pl

from syncrec.data.events import Events, EventWriter
from syncrec.data.formats import Preset
from syncrec.data.id_codes import IdCodes
from syncrec.data.lines import broken_gzip, replace_broken_lines
from syncrec.data.readers import clear_read_errors, header_lines, ignored_domain_column, scan_rows
from syncrec.data.rejects import BadRow, bad_rows, is_bad
from syncrec.data.sources import InputFile
from syncrec.data.timestamps import parse_times
from syncrec.data.vocabulary import ItemDomains
from syncrec.errors import DataError

__all__ = ["LogReader", "RawIds", "RawLog"]


class RawIds:
    """What the arrival codes of a log stand for, and the domain of each item."""

    def __init__(self) -> None:
        self.users, self.items, self.domains = IdCodes(), IdCodes(), IdCodes()
        self.item_domains = ItemDomains(self.items, self.domains)

    def close(self) -> None:
        """Nothing more will be read: let go of what only reading needs."""
        for codes in (self.users, self.items, self.domains):
            codes.close()


@dataclass(frozen=True)
class RawLog:
    """What was read: events in input order by arrival codes, what the codes stand for, and the rows left out."""

    events: Events
    ids: RawIds
    rejects: Sequence[BadRow]


class LogReader:
    """Reads the files of one log; `read` one after another, then `close`."""

    def __init__(
        self, work: Path, preset: Preset, columns: Mapping[str, str], on_bad_rows: Literal["refuse", "skip"]
    ) -> None:
        self._work, self._preset, self._columns = work, preset, columns
        self._skips = on_bad_rows == "skip"
        self._writer = EventWriter(work, "raw")
        self._ids = RawIds()
        self._rejects: list[BadRow] = []

    def read(self, file: InputFile, report: Callable[[str], None]) -> None:
        """Append the events of `file`.

        Raises:
            DataError: the file is damaged, a row is bad (unless bad rows are skipped), or an item is in two domains.
        """
        before, bad_before = self._writer.num_events, len(self._rejects)
        try:
            ignored = self._read(file)
        except DataError:
            if not (self._skips and file.format.kind == "jsonl"):
                raise
            self._writer.truncate(before)
            ignored = self._read_without_broken_lines(file)
        skipped = len(self._rejects) - bad_before
        left_out = f", {skipped:,} bad rows skipped" if skipped else ""
        if ignored:
            report(
                f"note: {file.path}: its column {ignored!r} is not read, all events belong to {file.domain!r}; "
                "name the file without --domain to take their domains from it"
            )
        report(f"{file.path}: {self._writer.num_events - before:,} events{left_out}")

    def close(self) -> RawLog:
        """All that was read."""
        events = self._writer.close()
        self._ids.close()
        return RawLog(events, self._ids, self._rejects)

    def _read(self, file: InputFile) -> str | None:
        """Append the events of `file`; gives the name of a column of domains that was not read."""
        rows = scan_rows(file, self._preset, self._columns)
        bad: list[pl.DataFrame] = []
        with clear_read_errors(file):
            for batch in rows.collect_batches(engine="streaming", maintain_order=True):
                good, rejected = _parted(_parse_rest(batch))
                if len(rejected):
                    self._refuse(file, rejected)
                    bad.append(rejected)
                self._append(good)
            self._rejects += bad_rows(file, pl.concat(bad), header_lines(file, self._preset)) if bad else []
        return ignored_domain_column(file, self._preset, self._columns)

    def _append(self, batch: pl.DataFrame) -> None:
        users = self._ids.users.encode(batch["user"])
        items = self._ids.items.encode(batch["item"])
        self._ids.item_domains.learn(items, self._ids.domains.encode(batch["domain"]))
        self._writer.append(Events(users, items, batch["time"].to_numpy()))

    def _refuse(self, file: InputFile, rejected: pl.DataFrame) -> None:
        """Stop at the first bad row, unless bad rows are skipped."""
        found = [] if self._skips else bad_rows(file, rejected, header_lines(file, self._preset))
        if found:
            if broken := broken_gzip(file.path, file.format):
                raise DataError(f"{file.path}{broken}")
            raise DataError(f"{found[0]}; mend it, or leave bad rows out: --bad-rows skip")

    def _read_without_broken_lines(self, file: InputFile) -> str | None:
        """As `_read`, of a copy of a JSON lines file in which each line that is no JSON object is an empty object."""
        before = len(self._rejects)
        with TemporaryDirectory(dir=self._work) as folder:
            copy = Path(folder) / file.path.name
            with clear_read_errors(file):
                broken = {
                    line: BadRow(str(file.path), line, reason, "")
                    for line, reason in replace_broken_lines(file.path, file.format, copy)
                }
            mended = dataclasses.replace(file, path=copy, format=dataclasses.replace(file.format, compression=""))
            with _errors_of(file.path, copy):
                ignored = self._read(mended)
        found = self._rejects[before:]
        self._rejects[before:] = [broken.get(b.line, dataclasses.replace(b, file=str(file.path))) for b in found]
        return ignored


@contextmanager
def _errors_of(path: Path, copy: Path) -> Iterator[None]:
    """Errors that name the user's file `path` where they would name its `copy`, of which he knows nothing.

    Raises:
        DataError: the copy cannot be read.
    """
    try:
        yield
    except DataError as error:
        raise DataError(str(error).replace(str(copy), str(path))) from None


def _parted(batch: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The good rows and the bad ones."""
    is_rejected = is_bad(batch)
    if not is_rejected.any():
        return batch, batch.clear()
    return batch.filter(~is_rejected), batch.filter(is_rejected)


def _parse_rest(batch: pl.DataFrame) -> pl.DataFrame:
    """`batch` with the times that are no plain numbers parsed too."""
    if batch["time_text"].null_count() == len(batch):
        return batch
    rest = batch["time_text"].is_not_null().arg_true()
    times = batch["time"].scatter(rest, parse_times(batch["time_text"][rest]))
    return batch.with_columns(times.alias("time"))
