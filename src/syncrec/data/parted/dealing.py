"""Events of files to parts, each a range of users, and each part sorted by user and time."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from syncrec.cluster.engine import Engine, attempt
from syncrec.data.events import Events, open_events, write_events
from syncrec.data.ordering import BUCKET_EVENTS, deal_events, sort_events
from syncrec.data.parted.parts import Part, save_items

__all__ = ["deal_and_sort", "part_bounds"]

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DealTask:
    """Deal out the events of the file read to `source`; part p has the users `bounds[p]:bounds[p+1]`."""

    source: Path
    bounds: _Ints
    work: Path
    target: Path


@dataclass(frozen=True)
class SortTask:
    """Gather the events of part `number`, the users `first:stop`, from all files, and sort them."""

    number: int
    first: int
    stop: int
    dealt: Sequence[Path]
    num_items: int
    shuffle_seed: int | None
    work: Path
    target: Path


def part_bounds(offsets: _Ints, num_parts: int, whole_buckets: bool) -> _Ints:
    """The users at which parts of about as many events begin and end: from 0 to U, at most `num_parts + 1` of them.

    `offsets` [U+1] are where users' events begin. With `whole_buckets` no bucket of `sort_events` is cut.
    """
    num_users = len(offsets) - 1
    wanted = np.linspace(0, offsets[-1], num_parts + 1)[1:-1]
    inner = np.minimum(np.searchsorted(offsets, wanted), num_users - 1)
    if whole_buckets:
        buckets = offsets[:-1] // BUCKET_EVENTS
        inner = np.searchsorted(buckets, buckets[inner])
    return np.unique(np.concatenate([[0], inner, [num_users]])).astype(np.int64)


def deal_and_sort(
    engine: Engine, files: Sequence[Path], bounds: _Ints, num_items: int, shuffle_seed: int | None, work: Path
) -> list[Part]:
    """The parts, sorted by user and time; ties as in the order of files and rows, or shuffled.

    `files` are directories of `FileRead`; `work` holds what `merge_ids` has written, and `offsets.npy`.
    """
    deals = [DealTask(file, bounds, work, work / f"dealt-{number:05d}") for number, file in enumerate(files)]
    dealt = list(engine.map(_deal, deals))
    sorts = [
        SortTask(number, first, stop, dealt, num_items, shuffle_seed, work, work / f"sorted-{number:05d}")
        for number, (first, stop) in enumerate(itertools.pairwise(bounds.tolist()))
    ]
    return list(engine.map(_sort, sorts))


def _deal(task: DealTask) -> Path:
    raw = open_events(task.source, "raw")
    users, items = (
        np.load(task.work / f"{kind}_ranks.npy", mmap_mode="r")[np.load(task.source / f"{kind}_codes.npy")]
        for kind in ("user", "item")
    )
    lengths = np.diff(task.bounds)
    part_of_user = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    counts = np.zeros(len(lengths), dtype=np.int64)
    np.add.at(counts, part_of_user[users], np.load(task.source / "user_counts.npy"))
    starts = np.concatenate([[0], np.cumsum(counts)])
    with attempt(task.target) as directory:
        deal_events(raw, users, items, part_of_user, starts, directory / "dealt")
        np.save(directory / "starts.npy", starts)
    return task.target


def _sort(task: SortTask) -> Part:
    offsets = np.load(task.work / "offsets.npy", mmap_mode="r")[task.first : task.stop + 1]
    users, items = (np.arange(size, dtype=np.uint32) for size in (task.stop - task.first, task.num_items))
    with attempt(task.target) as directory:
        arrived = write_events(_arriving(task), directory, "arrived")
        events = sort_events(arrived, users, items, offsets, directory, task.shuffle_seed)
        save_items(directory, events, task.num_items)
        for path in directory.glob("arrived.*"):
            path.unlink()
    num_present = int(np.count_nonzero(np.diff(offsets)))
    return Part(task.number, task.target, "sorted", task.stop - task.first, len(events), num_present)


def _arriving(task: SortTask) -> Iterator[Events]:
    """The part's events in the order of the input, users numbered from the part's first one."""
    for directory in task.dealt:
        start, stop = np.load(directory / "starts.npy")[task.number : task.number + 2]
        for chunk in open_events(directory, "dealt")[start:stop].chunks():
            yield Events(chunk.users - np.uint32(task.first), chunk.items, chunk.times)
