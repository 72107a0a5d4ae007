"""The split of a log in parts. Which user's events are cut where follows from counts; times stay where they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from syncrec.cluster.engine import Engine
from syncrec.config import PrepareConfig
from syncrec.data.events import Events, open_events
from syncrec.data.splits import Cuts, boundaries, count_before, leave_one_out, temporal_cuts
from syncrec.data.statistics import Times

__all__ = ["NumberedPart", "cut_parts"]

_BINS = 1 << 12
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NumberedPart:
    """Events of a part under their last numbers, users from 0; `times` is None where none is left."""

    directory: Path
    num_users: int
    num_events: int
    times: Times | None

    def events(self) -> Events:
        """Memory-mapped."""
        return open_events(self.directory, "events")


@dataclass(frozen=True)
class HistogramTask:
    """Count a part's events by time, from `first` to `last` (ms) in bins of `width` ms."""

    part: NumberedPart
    first: int
    last: int
    width: int


@dataclass(frozen=True)
class BeforeTask:
    """Count each user's events before `limit` (ms)."""

    part: NumberedPart
    limit: int


def cut_parts(
    engine: Engine, parts: Sequence[NumberedPart], offsets: _Ints, times: Times, settings: PrepareConfig
) -> Cuts:
    """The split that `settings` asks for, as `split_events` makes it; `offsets` and `times` are of the whole log.

    Raises:
        DataError: a part of the split would be empty.
        ConfigError: the two times are in the wrong order.
    """
    if settings.split == "leave-one-out":
        return leave_one_out(offsets)
    limits = boundaries(settings, times.events, lambda place: _time_at(engine, parts, times, place))
    before_validation, before_test = (
        np.concatenate(list(engine.map(_count_before, [BeforeTask(part, limit) for part in parts]))) for limit in limits
    )
    return temporal_cuts(offsets, before_validation, before_test, times.first, times.last)


def _time_at(engine: Engine, parts: Sequence[NumberedPart], times: Times, place: int) -> int:
    """The time (ms) of the event at `place` of all events in time order, by histograms that get finer."""
    first, last = times.first, times.last
    while first < last:
        width = -(-(last - first + 1) // _BINS)
        tasks = [HistogramTask(part, first, last, width) for part in parts]
        ends = np.cumsum(sum(engine.map(_histogram, tasks)))
        found = int(np.searchsorted(ends, place, side="right"))
        place -= int(ends[found - 1]) if found else 0
        first, last = first + found * width, min(last, first + (found + 1) * width - 1)
    return first


def _histogram(task: HistogramTask) -> _Ints:
    counts = np.zeros(_BINS, dtype=np.int64)
    for chunk in task.part.events().chunks():
        times = chunk.times[(chunk.times >= task.first) & (chunk.times <= task.last)]
        counts += np.bincount((times - task.first) // task.width, minlength=_BINS)
    return counts


def _count_before(task: BeforeTask) -> _Ints:
    lengths = np.load(task.part.directory / "lengths.npy")
    return count_before(np.concatenate([[0], np.cumsum(lengths)]), task.part.events().times, task.limit)
