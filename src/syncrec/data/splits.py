"""Which events are for training, validation and test. Every split cuts each user's history in time order.

Neither split keeps items out of the test part that training never saw; their share is in the statistics.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from syncrec.config import PrepareConfig
from syncrec.data.events import CHUNK_EVENTS
from syncrec.errors import ConfigError, DataError

__all__ = [
    "Cuts",
    "boundaries",
    "check_split_settings",
    "count_before",
    "leave_one_out",
    "split_events",
    "temporal",
    "temporal_cuts",
]

_LEAST_LEAVE_ONE_OUT = 3
_Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cuts:
    """Event index at which each user's training part ends, and at which the validation part does (int64 [U])."""

    train_end: _Offsets
    validation_end: _Offsets


def check_split_settings(settings: PrepareConfig, report: Callable[[str], None]) -> None:
    """Refuse a temporal split without its two times; say so when times are given that have no effect.

    Raises:
        ConfigError: a time is missing or is no time.
    """
    times = {"validation_from": settings.validation_from, "test_from": settings.test_from}
    if settings.split != "temporal":
        for name in (n for n, value in times.items() if value is not None):
            report(f"note: {name} has no effect with split = {settings.split}")
        return
    for name, value in times.items():
        if value is None:
            raise ConfigError(f"split = temporal needs {name}: a date, epoch seconds or a fraction of the events")
        if _fraction(value) is None:
            _milliseconds(value, name)


def split_events(offsets: _Offsets, times: npt.NDArray[np.int64], settings: PrepareConfig) -> Cuts:
    """The split that `settings` asks for; `times` in ms, ascending within each user.

    Raises:
        DataError: a part would be empty.
        ConfigError: the two times are in the wrong order.
    """
    if settings.split == "leave-one-out":
        return leave_one_out(offsets)
    return temporal(offsets, times, *boundaries(settings, len(times), lambda place: _smallest(times, place)))


def boundaries(settings: PrepareConfig, num_events: int, time_at: Callable[[int], int]) -> tuple[int, int]:
    """The times (ms) at which the validation and the test part of a temporal split begin.

    Args:
        settings: both times, each a time or a fraction of the events.
        num_events: of the log.
        time_at: the time (ms) of the event at a place, from 0, of the whole log in time order.

    Raises:
        ConfigError: the two times are in the wrong order, or fractions give the same time.
    """
    assert settings.validation_from is not None and settings.test_from is not None
    validation_from = _boundary(settings.validation_from, num_events, time_at, "validation_from")
    test_from = _boundary(settings.test_from, num_events, time_at, "test_from")
    given = f"{settings.validation_from} and {settings.test_from}"
    if validation_from == test_from and settings.validation_from != settings.test_from:
        raise ConfigError(
            f"validation_from must be before test_from, but {given} both are {_date(test_from)}, a time that many "
            "events have; name two dates, or fractions farther apart"
        )
    if validation_from >= test_from:
        raise ConfigError(f"validation_from must be before test_from, got {given}")
    return validation_from, test_from


def leave_one_out(offsets: _Offsets) -> Cuts:
    """A user's last event is the test part, the last but one validation, whatever their domains.

    All events of a user with fewer than three are training events.

    Raises:
        DataError: no user has three events.
    """
    has_targets = (np.diff(offsets) >= _LEAST_LEAVE_ONE_OUT).astype(np.int64)
    if not has_targets.any():
        longest = int(np.diff(offsets).max(initial=0))
        raise DataError(
            f"too few events for leave-one-out: no user has {_LEAST_LEAVE_ONE_OUT}, the longest history has {longest}; "
            "use the temporal split or a larger log"
        )
    return Cuts(offsets[1:] - 2 * has_targets, offsets[1:] - has_targets)


def temporal(offsets: _Offsets, times: npt.NDArray[np.int64], validation_from: int, test_from: int) -> Cuts:
    """Events before `validation_from` (ms) are for training, those from `test_from` on the test part.

    A user's events may all lie in one part.

    Raises:
        DataError: a part has no events.
    """
    before_validation, before_test = (count_before(offsets, times, limit) for limit in (validation_from, test_from))
    return temporal_cuts(offsets, before_validation, before_test, int(times.min()), int(times.max()))


def temporal_cuts(offsets: _Offsets, before_validation: _Offsets, before_test: _Offsets, first: int, last: int) -> Cuts:
    """The cuts of users that have so many events before each of the two times ([U] each).

    `first` and `last` are the times (ms) that the log spans.

    Raises:
        DataError: a part has no events.
    """
    cuts = Cuts(offsets[:-1] + before_validation, offsets[:-1] + before_test)
    parts = {"training": cuts.train_end - offsets[:-1], "validation": cuts.validation_end - cuts.train_end}
    parts["test"] = offsets[1:] - cuts.validation_end
    for name, lengths in parts.items():
        if not lengths.any():
            raise DataError(
                f"the temporal split leaves no {name} events; the log runs from {_date(first)} to {_date(last)}: "
                "change validation_from or test_from"
            )
    return cuts


def count_before(offsets: _Offsets, times: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.int64]:
    """For each user how many of the events lie before `limit`."""
    before = np.zeros(len(offsets), dtype=np.int64)
    total = 0
    for start in range(0, len(times), CHUNK_EVENTS):
        counts = np.cumsum(times[start : start + CHUNK_EVENTS] < limit)
        first, last = np.searchsorted(offsets, [start + 1, start + len(counts) + 1])
        before[first:last] = total + counts[offsets[first:last] - start - 1]
        total += int(counts[-1])
    return np.diff(before)


def _boundary(value: str, num_events: int, time_at: Callable[[int], int], setting: str) -> int:
    fraction = _fraction(value)
    if fraction is None:
        return _milliseconds(value, setting)
    return time_at(int(fraction * num_events))


def _smallest(times: npt.NDArray[np.int64], place: int) -> int:
    """What stands at `place` of the sorted `times` (ms, below 2^48): two bytes after two bytes, each in one pass."""
    known = 0
    for shift in (32, 16, 0):
        counts = np.zeros(1 << 16, dtype=np.int64)
        for start in range(0, len(times), CHUNK_EVENTS):
            parts = times[start : start + CHUNK_EVENTS] >> shift
            counts += np.bincount(parts[parts >> 16 == known] & 0xFFFF, minlength=1 << 16)
        ends = np.cumsum(counts)
        digit = int(np.searchsorted(ends, place, side="right"))
        place -= int(ends[digit] - counts[digit])
        known = known << 16 | digit
    return known


def _milliseconds(value: str, setting: str) -> int:
    from syncrec.data.timestamps import time_in_milliseconds  # polars, which nobody needs who only reads `Cuts`

    return time_in_milliseconds(value, setting)


def _fraction(value: str) -> float | None:
    """`value` as a fraction of the events, None if it is none: a number above 0 and below 1."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 < number < 1 else None


def _date(milliseconds: int) -> str:
    return str(np.datetime64(milliseconds, "ms").astype("datetime64[s]"))
