"""Columns of integers on disk: a log after its ids became numbers, memory-mapped and walked in chunks.

Every pass over a log looks at one chunk at a time, so memory does not grow with the log.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.artifacts import clear_write_errors

__all__ = [
    "CHUNK_EVENTS",
    "NUM_THREADS",
    "EventWriter",
    "Events",
    "empty_column",
    "open_events",
    "tally",
    "write_events",
]

CHUNK_EVENTS = 1 << 22
NUM_THREADS = 2  # of passes over columns: numpy leaves the interpreter free for most of one, and memory sets the pace

_COLUMNS = {"users": np.uint32, "items": np.uint32, "times": np.int64}


@dataclass(frozen=True)
class Events:
    """Events as three columns of one length, in memory or memory-mapped: numbers of user and item, time in ms."""

    users: npt.NDArray[np.uint32]
    items: npt.NDArray[np.uint32]
    times: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, which: slice | npt.NDArray[Any]) -> "Events":
        """The events at a slice (views), an index array or a mask (copies)."""
        return Events(self.users[which], self.items[which], self.times[which])

    def spans(self, size: int = CHUNK_EVENTS) -> Iterator[tuple[int, int]]:
        """(start, stop) of consecutive chunks of at most `size` events."""
        for start in range(0, len(self), size):
            yield start, min(start + size, len(self))

    def chunks(self) -> Iterator["Events"]:
        """The events in order, at most `CHUNK_EVENTS` at a time."""
        return (self[start:stop] for start, stop in self.spans())


class EventWriter:
    """Appends events to files `<name>.<column>` in a directory; `close` gives them back memory-mapped."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self._files = {column: (directory / f"{name}.{column}").open("wb") for column in _COLUMNS}
        self.num_events = 0

    def append(self, events: Events) -> None:
        """Write `events` behind those already written.

        Raises:
            ArtifactError: the disk is full.
        """
        for column, kind in _COLUMNS.items():
            with clear_write_errors(self._directory / f"{self._name}.{column}"):
                self._files[column].write(np.ascontiguousarray(getattr(events, column), dtype=kind).data)
        self.num_events += len(events)

    def truncate(self, num_events: int) -> None:
        """Forget all but the first `num_events` events."""
        for column, kind in _COLUMNS.items():
            self._files[column].seek(num_events * np.dtype(kind).itemsize)
            self._files[column].truncate()
        self.num_events = num_events

    def close(self) -> Events:
        """All that was written, memory-mapped read-only."""
        for file in self._files.values():
            file.close()
        return open_events(self._directory, self._name)


def open_events(directory: Path, name: str) -> Events:
    """The events in the files `<name>.<column>` of a directory, memory-mapped read-only."""
    return Events(*(_open_column(directory / f"{name}.{column}", kind) for column, kind in _COLUMNS.items()))


def _open_column(path: Path, kind: Any) -> npt.NDArray[Any]:
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.zeros(0, dtype=kind)


def write_events(chunks: Iterable[Events], directory: Path, name: str) -> Events:
    """The events of all `chunks`, written to `<name>.<column>` in `directory` and memory-mapped."""
    writer = EventWriter(directory, name)
    for chunk in chunks:
        writer.append(chunk)
    return writer.close()


def empty_column(path: Path, kind: Any, length: int) -> npt.NDArray[Any]:
    """A writable column of `length` entries in the new file `path`, memory-mapped.

    Raises:
        OSError: the disk has no room for it.
    """
    if not length:
        path.touch()
        return np.zeros(0, dtype=kind)
    with path.open("wb") as file:
        _reserve(file.fileno(), length * np.dtype(kind).itemsize)
    return np.memmap(path, dtype=kind, mode="r+", shape=(length,))


def _reserve(handle: int, num_bytes: int) -> None:
    """Make a file so long, with its room on the disk taken.

    A mapped file that is only long kills the process (SIGBUS) when its disk is full at the first write to a page.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, num_bytes)
    else:
        os.truncate(handle, num_bytes)


def tally(numbers: npt.NDArray[np.integer], size: int) -> npt.NDArray[np.int64]:
    """How often each of the numbers 0..size-1 occurs."""
    counts = np.zeros(size, dtype=np.int64)
    for start in range(0, len(numbers), CHUNK_EVENTS):
        counts += np.bincount(numbers[start : start + CHUNK_EVENTS], minlength=size)
    return counts
