"""Neighbouring events by number: those of many users at once."""

import numpy as np
import numpy.typing as npt

__all__ = ["event_ranges"]

Ints = npt.NDArray[np.int64]


def event_ranges(starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """Every number of the ranges `starts[n]:stops[n]`, one range after another: (n, number)."""
    lengths = stops - starts
    rows = np.repeat(np.arange(len(starts)), lengths)
    return rows, np.arange(len(rows)) + (starts - np.cumsum(lengths) + lengths)[rows]
