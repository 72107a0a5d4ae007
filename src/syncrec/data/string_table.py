"""A sorted table of ids on disk: memory-mapped, found by binary search, so nothing is loaded to look up one id."""

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from syncrec.errors import nearest_names

__all__ = ["StringTable"]

_NEIGHBOURS = 2000
_AT_ONCE = 1 << 16


class StringTable:
    """Ids in ascending order of their UTF-8 bytes; an id's index is its place.

    On disk: `<name>.utf8` (the ids one after another) and `<name>.offsets.npy` (int64, one more than ids).
    """

    def __init__(self, text: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64]) -> None:
        self._text = text.view(np.ndarray)  # no memmap, whose slices take ten times as long
        self._offsets = offsets.view(np.ndarray)

    @staticmethod
    def write(directory: Path, name: str, ids: Collection[str]) -> None:
        """Write `ids`, which must be strictly ascending by their UTF-8 bytes; they are never all in memory as `str`."""
        lengths = np.zeros(len(ids) + 1, dtype=np.int64)
        written, rest = 1, iter(ids)
        with (directory / f"{name}.utf8").open("wb") as file:
            while encoded := [i.encode() for i in itertools.islice(rest, _AT_ONCE)]:
                lengths[written : written + len(encoded)] = list(map(len, encoded))
                file.write(b"".join(encoded))
                written += len(encoded)
        np.save(directory / f"{name}.offsets.npy", np.cumsum(lengths, out=lengths))

    @classmethod
    def open(cls, directory: Path, name: str) -> "StringTable":
        """The table written as `name` in `directory`, memory-mapped."""
        path = directory / f"{name}.utf8"
        text = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else np.zeros(0, dtype=np.uint8)
        return cls(text, np.load(directory / f"{name}.offsets.npy", mmap_mode="r"))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> str:
        return self._bytes(index).decode()

    def __iter__(self) -> Iterator[str]:
        return self.between(0, len(self))

    def between(self, begin: int, end: int) -> Iterator[str]:
        """The ids of the indices from `begin` up to but not including `end`."""
        for first in range(begin, end, _AT_ONCE):
            offsets = self._offsets[first : min(first + _AT_ONCE, end) + 1].tolist()
            text = self._text[offsets[0] : offsets[-1]].tobytes()
            for start, stop in itertools.pairwise(offsets):
                yield text[start - offsets[0] : stop - offsets[0]].decode()

    def _bytes(self, index: int) -> bytes:
        start, stop = int(self._offsets[index]), int(self._offsets[index + 1])
        return self._text[start:stop].tobytes()

    def _insertion_index(self, key: bytes) -> int:
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._bytes(middle) < key:
                low = middle + 1
            else:
                high = middle
        return low

    def find(self, name: str) -> int | None:
        """The index of the id `name`, or None."""
        key = name.encode()
        index = self._insertion_index(key)
        return index if index < len(self) and self._bytes(index) == key else None

    def nearest(self, name: str) -> list[str]:
        """Up to three ids that look like `name`, searched among its neighbours in sorted order."""
        centre = self._insertion_index(name.encode())
        around = range(max(0, centre - _NEIGHBOURS), min(len(self), centre + _NEIGHBOURS))
        return nearest_names(name, (self[i] for i in around))
