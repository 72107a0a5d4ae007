"""A stored dataset in chunks of whole users, so that a pass over it takes memory for one chunk."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from syncrec.data.dataset import Dataset

__all__ = ["Chunk", "chunks", "num_targets"]

_CHUNK_EVENTS = 1 << 20


@dataclass(frozen=True)
class Chunk:
    """The users `first..last - 1` of a dataset with all their events, n of them."""

    dataset: Dataset
    first: int
    last: int

    @cached_property
    def _offsets(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.dataset.user_offsets[self.first : self.last + 1])

    @property
    def span(self) -> slice:
        """Where the events are in the dataset."""
        return slice(int(self._offsets[0]), int(self._offsets[-1]))

    @property
    def items(self) -> npt.NDArray[np.int32]:
        """Item index of each event, [n]."""
        return np.asarray(self.dataset.items[self.span])

    @property
    def times(self) -> npt.NDArray[np.int64]:
        """Unix seconds of each event, [n]."""
        return np.asarray(self.dataset.timestamps[self.span])

    @cached_property
    def users(self) -> npt.NDArray[np.int64]:
        """User number of each event, counted from `first`, [n]."""
        return np.repeat(np.arange(self.last - self.first), np.diff(self._offsets))

    @cached_property
    def parts(self) -> npt.NDArray[np.int8]:
        """Part of each event, [n]: 0 training, 1 validation, 2 test."""
        places, users = np.arange(self.span.start, self.span.stop), self.users
        ends = (self.dataset.train_end, self.dataset.validation_end)
        later = [places >= np.asarray(end[self.first : self.last])[users] for end in ends]
        return later[0].astype(np.int8) + later[1].astype(np.int8)

    @cached_property
    def positions(self) -> npt.NDArray[np.int64]:
        """Place of each event in its user's history, from 0, [n]."""
        return np.arange(self.span.start, self.span.stop) - self._offsets[self.users]

    @property
    def is_tied(self) -> npt.NDArray[np.bool_]:
        """Of each event but the first, whether it is of the user of the one before, and of the same time, [n - 1]."""
        return np.asarray((self.users[1:] == self.users[:-1]) & (self.times[1:] == self.times[:-1]))

    def repeats(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Places [r] in the chunk of events whose user had the item before, and of the last event before each."""
        keys = self.users * np.int64(self.dataset.num_items) + self.items
        order = np.argsort(keys, kind="stable")
        again = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        return order[again + 1], order[again]


def chunks(dataset: Dataset, size: int = _CHUNK_EVENTS) -> Iterator[Chunk]:
    """All users in order, in chunks of about `size` events; a longer history has a chunk of its own."""
    offsets = np.asarray(dataset.user_offsets)
    first = 0
    while first < dataset.num_users:
        reach = int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1
        last = min(max(reach, first + 1), dataset.num_users)
        yield Chunk(dataset, first, last)
        first = last


def num_targets(dataset: Dataset) -> int:
    """Number of validation and test events."""
    return int((np.asarray(dataset.user_offsets)[1:] - np.asarray(dataset.train_end)).sum())
