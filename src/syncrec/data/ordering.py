"""Events sorted by user and time without holding the log in memory.

Two passes over memory-mapped columns: the first puts each event where its user's events go, the second sorts runs of
whole users by time. Both are stable: events of a user with equal times keep the order of the input.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from syncrec.data.events import CHUNK_EVENTS, Events, empty_column
from syncrec.rng import numpy_generator

__all__ = ["group_by_user", "sort_by_time", "stable_order"]


def group_by_user(
    events: Events,
    user_ranks: npt.NDArray[np.uint32],
    item_ranks: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.int64],
    work: Path,
) -> Events:
    """The events under new numbers (`ranks[old]`), those of user u at `offsets[u]:offsets[u+1]` in input order."""
    size = len(events)
    users = empty_column(work / "grouped.users", np.uint32, size)
    items = empty_column(work / "grouped.items", np.uint32, size)
    times = empty_column(work / "grouped.times", np.int64, size)
    next_place = offsets[:-1].copy()
    for chunk in events.chunks():
        chunk_users = user_ranks[chunk.users]
        order = stable_order(chunk_users)
        chunk_users = chunk_users[order]
        places = next_place[chunk_users] + _rank_in_run(chunk_users)
        users[places] = chunk_users
        items[places] = item_ranks[chunk.items[order]]
        times[places] = chunk.times[order]
        next_place[chunk_users] = places + 1
    return Events(users, items, times)


def sort_by_time(events: Events, offsets: npt.NDArray[np.int64], shuffle_seed: int | None) -> None:
    """Sort the events of each user by time, in place; ties as they are, or shuffled by `shuffle_seed`."""
    for number, (start, stop) in enumerate(_runs_of_users(offsets)):
        run = events[start:stop]
        order = np.arange(stop - start)
        if shuffle_seed is not None:
            order = numpy_generator(shuffle_seed, "ties", number).permutation(stop - start)
        elif _is_sorted(run):
            continue
        order = order[stable_order(run.times[order])]
        order = order[stable_order(run.users[order])]
        events.items[start:stop] = run.items[order]
        events.times[start:stop] = run.times[order]


def stable_order(keys: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """The order that sorts integer `keys`, equal ones as they were; `argsort(kind="stable")`, several times faster.

    Key and place are packed into one 64-bit number where they fit, so that a plain sort will do.
    """
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    low, high = int(keys.min()), int(keys.max())
    place_bits = len(keys).bit_length()
    if (high - low).bit_length() + place_bits > 63:
        return np.argsort(keys, kind="stable")
    packed = keys.astype(np.int64)
    packed -= low
    packed <<= place_bits
    packed |= np.arange(len(keys))
    packed.sort()
    packed &= (1 << place_bits) - 1
    return packed


def _rank_in_run(values: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """For each entry how many equal ones stand directly before it: 5 5 5 7 7 -> 0 1 2 0 1."""
    places = np.arange(len(values))
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    return places - np.repeat(starts, np.diff(np.r_[starts, len(values)]))


def _runs_of_users(offsets: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive runs of whole users, of at most `CHUNK_EVENTS` events unless one has more."""
    start, user, num_users = 0, 0, len(offsets) - 1
    while user < num_users:
        fitting = int(np.searchsorted(offsets, start + CHUNK_EVENTS, side="right")) - 1
        user = max(fitting, user + 1)
        yield start, int(offsets[user])
        start = int(offsets[user])


def _is_sorted(run: Events) -> bool:
    return bool(np.all((run.times[1:] >= run.times[:-1]) | (run.users[1:] != run.users[:-1])))
