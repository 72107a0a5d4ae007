"""Files to columns of integers, one file a task; then one numbering of all ids."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from syncrec.cluster.engine import Engine, attempt
from syncrec.data.assembly import rank_ids, user_offsets
from syncrec.data.events import tally
from syncrec.data.formats import Preset
from syncrec.data.ingest import LogReader, RawIds, RawLog
from syncrec.data.rejects import BadRow
from syncrec.data.sources import InputFile
from syncrec.data.vocabulary import Vocabulary
from syncrec.errors import DataError, WorkerError

__all__ = ["FileRead", "ReadTask", "merge_ids", "read_files"]


@dataclass(frozen=True)
class ReadTask:
    """Read `file`, whose path is absolute and which the user called `name`, into the directory `target`."""

    file: InputFile
    name: str
    preset: Preset
    columns: Mapping[str, str]
    on_bad_rows: Literal["refuse", "skip"]
    target: Path


@dataclass(frozen=True)
class FileRead:
    """What was read of a file, and where: events by the file's own codes, in its order, and what these stand for."""

    directory: Path
    num_events: int
    domains: Sequence[str]
    rejects: Sequence[BadRow]
    lines: Sequence[str]


def read_files(engine: Engine, tasks: Sequence[ReadTask]) -> Iterator[FileRead]:
    """Every file, in order.

    Raises:
        DataError: as `LogReader.read`.
        WorkerError: a worker does not see a file.
    """
    return engine.map(_read, tasks)


def _read(task: ReadTask) -> FileRead:
    lines: list[str] = []
    with attempt(task.target) as directory, _errors_by_name(task):
        reader = LogReader(directory, task.preset, task.columns, task.on_bad_rows)
        reader.read(task.file, lines.append)
        raw = reader.close()
        _save_ids(directory, raw)
    return FileRead(
        task.target,
        len(raw.events),
        raw.ids.domains.texts().to_list(),
        [replace(row, file=task.name) for row in raw.rejects],
        [_by_name(line, task) for line in lines],
    )


@contextmanager
def _errors_by_name(task: ReadTask) -> Iterator[None]:
    if not task.file.path.exists():
        raise WorkerError(f"{task.file.path}: a worker does not see it; raw logs must lie where all workers see them")
    try:
        yield
    except DataError as error:
        raise DataError(_by_name(str(error), task)) from None


def _by_name(text: str, task: ReadTask) -> str:
    return text.replace(str(task.file.path), task.name)


def _save_ids(directory: Path, raw: RawLog) -> None:
    for kind in ("users", "items"):
        pl.DataFrame({"id": getattr(raw.ids, kind).texts()}).write_ipc(directory / f"{kind}.ipc")
    np.save(directory / "item_domains.npy", raw.ids.item_domains.by_item[: len(raw.ids.items)])
    np.save(directory / "user_counts.npy", tally(raw.events.users, len(raw.ids.users)))


def merge_ids(
    reads: Sequence[FileRead], domain_order: Sequence[str], work: Path
) -> tuple[Vocabulary, npt.NDArray[np.int64]]:
    """The ids of all files by number, and where the events of each user begin once they lie by user, int64 [U+1].

    Ids get the codes that they would get if one reader read all files. Written are each file's codes
    (`user_codes.npy`, `item_codes.npy`) and, to `work`, the numbers of codes (`user_ranks.npy`, `item_ranks.npy`).

    Raises:
        DataError: an item is in two domains.
    """
    ids, counts = RawIds(), np.zeros(0, dtype=np.int64)
    for read in reads:
        users = ids.users.encode(_texts(read.directory, "users"))
        items = ids.items.encode(_texts(read.directory, "items"))
        domains = ids.domains.encode(pl.Series(read.domains, dtype=pl.String))
        ids.item_domains.learn(items, domains[np.load(read.directory / "item_domains.npy")])
        counts = np.concatenate([counts, np.zeros(len(ids.users) - len(counts), dtype=np.int64)])
        counts[users] += np.load(read.directory / "user_counts.npy")
        np.save(read.directory / "user_codes.npy", users)
        np.save(read.directory / "item_codes.npy", items)
    ranks_of_users, ranks_of_items, vocabulary = rank_ids(ids, domain_order)
    np.save(work / "user_ranks.npy", ranks_of_users)
    np.save(work / "item_ranks.npy", ranks_of_items)
    return vocabulary, user_offsets(ranks_of_users, counts)


def _texts(directory: Path, kind: str) -> pl.Series:
    return pl.read_ipc(directory / f"{kind}.ipc")["id"]
