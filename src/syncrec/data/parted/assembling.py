"""Filtered parts to the arrays of a dataset: numbers without gaps, split, statistics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.cluster.engine import Engine, attempt
from syncrec.config import PrepareConfig
from syncrec.data.assembly import Columns, assembled, numbered_anew, remaining_ids, seconds_of
from syncrec.data.dataset import DatasetArrays
from syncrec.data.events import CHUNK_EVENTS, empty_column, tally, write_events
from syncrec.data.parted.cutting import NumberedPart, cut_parts
from syncrec.data.parted.parts import Part, PartedLog, item_totals
from syncrec.data.splits import Cuts
from syncrec.data.statistics import Overview, merged_overviews, merged_times, overview, times_of
from syncrec.data.vocabulary import Vocabulary

__all__ = ["assemble_parts"]

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NumberTask:
    """Number the users of `part` that have an event, and the items of the mask in `items`, anew."""

    part: Part
    items: Path
    target: Path


@dataclass(frozen=True)
class DescribeTask:
    """Count a part whose users begin at `first_user` and whose events at `first_event` of the whole log."""

    part: NumberedPart
    first_user: int
    first_event: int
    num_domains: int
    work: Path
    target: Path


def assemble_parts(
    engine: Engine,
    log: PartedLog,
    ids: Vocabulary,
    settings: PrepareConfig,
    work: Path,
    report: Callable[[str], None],
) -> tuple[DatasetArrays, dict[str, Any]]:
    """The arrays of the dataset and, for its manifest, counts and statistics.

    Raises:
        DataError: too few events for the split.
    """
    parts, ids = _number(engine, log, ids, work, report)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([np.load(p.directory / "lengths.npy") for p in parts]))])
    times = merged_times([part.times for part in parts if part.times is not None])
    cuts = cut_parts(engine, parts, offsets, times, settings)
    described = _describe(engine, parts, cuts, ids, work)
    columns = Columns(
        offsets,
        _joined([part.events().items.view(np.int32) for part in parts], work / "items"),
        _joined(
            [np.memmap(directory / "seconds", dtype=np.int64, mode="r") for directory in described], work / "times"
        ),
        cuts,
    )
    return assembled(columns, ids, merged_overviews([_load_overview(directory) for directory in described]), times)


def _number(
    engine: Engine, log: PartedLog, ids: Vocabulary, work: Path, report: Callable[[str], None]
) -> tuple[list[NumberedPart], Vocabulary]:
    """Parts that have users left, and the ids that are left."""
    item_present = item_totals([part.directory for part in log.parts]) > 0
    np.save(work / "item_present.npy", item_present)
    tasks = [NumberTask(part, work / "item_present.npy", work / f"numbered-{part.number:05d}") for part in log.parts]
    parts = list(engine.map(_number_part, tasks))
    user_present = np.concatenate([np.load(part.directory / "present.npy") for part in parts])
    return [p for p in parts if p.times is not None], remaining_ids(ids, user_present, item_present, report)


def _number_part(task: NumberTask) -> NumberedPart:
    events = task.part.events()
    present = tally(events.users, task.part.num_users) > 0
    with attempt(task.target) as directory:
        numbered = write_events(numbered_anew(events, present, np.load(task.items)), directory, "events")
        lengths = tally(numbered.users, int(present.sum()))
        np.save(directory / "present.npy", present)
        np.save(directory / "lengths.npy", lengths)
    return NumberedPart(task.target, len(lengths), len(numbered), times_of(numbered) if len(numbered) else None)


def _describe(engine: Engine, parts: Sequence[NumberedPart], cuts: Cuts, ids: Vocabulary, work: Path) -> list[Path]:
    """Where each part's overview and its column of seconds are."""
    np.save(work / "train_end.npy", cuts.train_end)
    np.save(work / "validation_end.npy", cuts.validation_end)
    np.save(work / "final_domain_of_item.npy", ids.domain_of_item)
    users, events = (
        np.cumsum([0, *sizes]).tolist() for sizes in zip(*((p.num_users, p.num_events) for p in parts), strict=True)
    )
    tasks = [
        DescribeTask(part, users[n], events[n], len(ids.domains), work, work / f"described-{n:05d}")
        for n, part in enumerate(parts)
    ]
    return list(engine.map(_describe_part, tasks))


def _describe_part(task: DescribeTask) -> Path:
    events, users = task.part.events(), slice(task.first_user, task.first_user + task.part.num_users)
    train_end, validation_end = (
        np.load(task.work / f"{name}.npy", mmap_mode="r")[users] - task.first_event
        for name in ("train_end", "validation_end")
    )
    domain_of_item = np.load(task.work / "final_domain_of_item.npy")
    view = overview(events, Cuts(train_end, validation_end), domain_of_item, task.num_domains)
    with attempt(task.target) as directory:
        for column in fields(Overview):
            np.save(directory / f"{column.name}.npy", getattr(view, column.name))
        seconds_of(events.times, directory)
    return task.target


def _load_overview(directory: Path) -> Overview:
    return Overview(*(np.load(directory / f"{column.name}.npy") for column in fields(Overview)))


def _joined(columns: Sequence[npt.NDArray[Any]], path: Path) -> npt.NDArray[Any]:
    """One behind another, in a column of its own."""
    joined = empty_column(path, columns[0].dtype, sum(map(len, columns)))
    place = 0
    for column in columns:
        for start in range(0, len(column), CHUNK_EVENTS):
            chunk = column[start : start + CHUNK_EVENTS]
            joined[place : place + len(chunk)] = chunk
            place += len(chunk)
    return joined
