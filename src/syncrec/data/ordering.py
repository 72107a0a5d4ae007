"""Events sorted by user and time without holding the log in memory.

Two passes: the first deals events out to buckets of neighbouring users, small enough for the processor's cache; the
second sorts each bucket by user and time. Both are stable: events of a user with equal times keep the input's order.
"""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.data.events import NUM_THREADS, Events, empty_column
from syncrec.rng import numpy_generator

__all__ = ["BUCKET_EVENTS", "deal_events", "sort_events", "stable_order"]

BUCKET_EVENTS = 1 << 18

_Offsets = npt.NDArray[np.int64]
_Ranks = npt.NDArray[np.uint32]
_PACKED_BITS = 63
_SECOND = 1000


def sort_events(
    events: Events, user_ranks: _Ranks, item_ranks: _Ranks, offsets: _Offsets, work: Path, shuffle_seed: int | None
) -> Events:
    """The events under new numbers (`ranks[old]`), by user and then time; user u at `offsets[u]:offsets[u+1]`.

    Ties in time are as in the input, or shuffled by `shuffle_seed`. Of neighbouring users of a longer log `offsets` are
    the places there: they begin above 0, and ties are shuffled as they are there if its buckets are here whole.
    """
    buckets = offsets[:-1] // BUCKET_EVENTS
    first = int(buckets[0]) if len(buckets) else 0
    bucket_of_user = buckets - first
    starts = offsets[np.searchsorted(bucket_of_user, np.arange(bucket_of_user.max(initial=0) + 2))] - offsets[0]
    dealt = deal_events(events, user_ranks, item_ranks, bucket_of_user, starts, work / "sorted")
    parts = [dealt[start:stop] for start, stop in itertools.pairwise(starts.tolist())]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        list(pool.map(_sort_bucket, parts, itertools.repeat(shuffle_seed), itertools.count(first)))
    return dealt


def stable_order(*keys: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The order that sorts by the first of integer `keys`, then the second and so on; equal ones stay as they were.

    Keys and place are packed into one 64-bit number where they fit, so that one plain sort will do; it is several times
    faster than a stable `argsort` a key.
    """
    size = len(keys[0])
    packed, bits = np.arange(size), size.bit_length()
    for key in reversed(keys):
        low = int(key.min()) if size else 0
        width = (int(key.max()) - low).bit_length() if size else 0
        if bits + width > _PACKED_BITS:
            return _order_by_each(keys)
        packed |= (key.astype(np.int64) - low) << bits
        bits += width
    packed.sort()
    return packed & ((1 << size.bit_length()) - 1)


def _order_by_each(keys: tuple[npt.NDArray[np.integer], ...]) -> npt.NDArray[np.int64]:
    if len(keys) == 1:
        return np.argsort(keys[0], kind="stable")
    order = stable_order(*keys[1:])
    return order[stable_order(keys[0][order])]


def deal_events(
    events: Events,
    user_ranks: _Ranks,
    item_ranks: _Ranks,
    bucket_of_user: npt.NDArray[np.integer],
    starts: _Offsets,
    place: Path,
) -> Events:
    """The events under new numbers, each behind those already in its bucket: bucket b is `starts[b]:starts[b+1]`.

    Written to the columns `<place>.<column>`, memory-mapped and writable.
    """
    size = len(events)
    dealt = Events(
        empty_column(place.with_name(f"{place.name}.users"), np.uint32, size),
        empty_column(place.with_name(f"{place.name}.items"), np.uint32, size),
        empty_column(place.with_name(f"{place.name}.times"), np.int64, size),
    )
    next_place = starts[:-1].tolist()
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for chunk in events.chunks():
            users = user_ranks[chunk.users]
            runs = [(next_place[bucket], which) for bucket, which in _runs(bucket_of_user[users])]
            for start, which in runs:
                next_place[int(bucket_of_user[users[which[0]]])] = start + len(which)
            times = pool.submit(_write_runs, dealt.times, chunk.times, runs)
            _write_runs(dealt.users, users, runs)
            _write_runs(dealt.items, item_ranks[chunk.items], runs)
            times.result()
    return dealt


def _write_runs(
    column: npt.NDArray[Any], values: npt.NDArray[Any], runs: Sequence[tuple[int, npt.NDArray[np.int64]]]
) -> None:
    """Copy the `values` of each run, one behind another, to `column` from the run's place on."""
    for start, which in runs:
        column[start : start + len(which)] = values[which]


def _runs(numbers: npt.NDArray[np.integer]) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Each number that occurs, with its places in ascending order."""
    # Numbers of 16 bits are sorted by radix, in linear time.
    small = numbers.astype(np.uint16) if numbers.max(initial=0) < 1 << 16 else numbers
    order = np.argsort(small, kind="stable")
    counts = np.bincount(numbers)
    ends = np.cumsum(counts)
    for number in np.flatnonzero(counts).tolist():
        yield number, order[ends[number] - counts[number] : ends[number]]


def _sort_bucket(events: Events, shuffle_seed: int | None, bucket: int) -> None:
    """Sort whole users by time, in place."""
    if shuffle_seed is not None:
        order = numpy_generator(shuffle_seed, "ties", bucket).permutation(len(events))
        _reorder(events, order)
    times = events.times
    whole_seconds = times // _SECOND
    if np.array_equal(whole_seconds * _SECOND, times):
        times = whole_seconds
    _reorder(events, stable_order(events.users, times))


def _reorder(events: Events, order: npt.NDArray[np.int64]) -> None:
    events.users[:] = events.users[order]
    events.items[:] = events.items[order]
    events.times[:] = events.times[order]
