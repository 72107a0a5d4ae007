"""Numbers for ids while a log is read: a hash table in numpy arrays, filled and asked in bulk.

Several times faster than a Polars categorical, and the numbers do not depend on threads. Ids count as equal when
their 64-bit hashes are; among a million ids two different ones do with a probability of 3e-8.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["IdCodes"]

_EMPTY = np.uint64(0)
_UNKNOWN = -1
_FIRST_SIZE = 1 << 12


class IdCodes:
    """Gives each new text the next number, from 0, in the order in which `encode` meets them."""

    def __init__(self) -> None:
        self._keys = np.zeros(_FIRST_SIZE, dtype=np.uint64)
        self._codes = np.zeros(_FIRST_SIZE, dtype=np.uint32)
        self._texts: list[pl.Series] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def encode(self, texts: pl.Series) -> npt.NDArray[np.uint32]:
        """The code of each of `texts`, which has no nulls; new ones get new codes."""
        hashes = np.maximum(texts.hash().to_numpy(), np.uint64(1))
        codes = self._find(hashes)
        unknown = np.flatnonzero(codes == _UNKNOWN)
        if len(unknown):
            self._add(texts, hashes, unknown)
            codes[unknown] = self._find(hashes[unknown])
        return codes.astype(np.uint32)

    def texts(self) -> pl.Series:
        """All texts met, by code."""
        return pl.concat(self._texts) if self._texts else pl.Series("id", [], dtype=pl.String)

    def close(self) -> None:
        """Let go of the table, the most of the memory; what is left is how many there are, and `texts`."""
        self._keys, self._codes = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint32)

    def _find(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """The code of each hash, -1 where it is not in the table: look from its own slot on up to an empty one."""
        codes = np.full(len(hashes), _UNKNOWN, dtype=np.int64)
        slots = self._slots(hashes)
        pending: npt.NDArray[Any] = np.arange(len(hashes))
        while len(pending):
            keys = self._keys[slots]
            is_hit = keys == hashes[pending]
            codes[pending[is_hit]] = self._codes[slots[is_hit]]
            goes_on = ~is_hit & (keys != _EMPTY)
            pending = pending[goes_on]
            slots = self._next(slots[goes_on])
        return codes

    def _add(self, texts: pl.Series, hashes: npt.NDArray[np.uint64], unknown: npt.NDArray[np.int64]) -> None:
        """Number the hashes at the places `unknown`, which may repeat, in order of first occurrence."""
        firsts = unknown[np.sort(np.unique(hashes[unknown], return_index=True)[1])]
        # Through a list: a gathered column would keep the memory of the whole batch.
        self._texts.append(pl.Series("id", texts.gather(firsts).to_list(), dtype=pl.String))
        new_codes = np.arange(self._size, self._size + len(firsts), dtype=np.uint32)
        self._size += len(firsts)
        self._grow()
        self._insert(hashes[firsts], new_codes)

    def _grow(self) -> None:
        """Keep the table at most half full."""
        if 2 * self._size <= len(self._keys):
            return
        filled = self._keys != _EMPTY
        keys, codes = self._keys[filled], self._codes[filled]
        size = 1 << (4 * self._size - 1).bit_length()
        self._keys, self._codes = np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.uint32)
        self._insert(keys, codes)

    def _insert(self, hashes: npt.NDArray[np.uint64], codes: npt.NDArray[np.uint32]) -> None:
        """Put distinct new hashes into the table; of several that want a slot one gets it, the others go on."""
        slots = self._slots(hashes)
        while len(hashes):
            is_free = self._keys[slots] == _EMPTY
            self._keys[slots[is_free]] = hashes[is_free]
            is_placed = self._keys[slots] == hashes
            self._codes[slots[is_placed]] = codes[is_placed]
            hashes, codes = hashes[~is_placed], codes[~is_placed]
            slots = self._next(slots[~is_placed])

    def _slots(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        return (hashes & np.uint64(len(self._keys) - 1)).astype(np.int64)

    def _next(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return (slots + 1) & (len(self._keys) - 1)
