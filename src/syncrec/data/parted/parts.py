"""A part of a log on disk: the events of neighbouring users, as one task leaves them for the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from syncrec.data.events import Events, open_events, tally
from syncrec.data.filters import Counts

__all__ = ["Part", "PartedLog", "item_totals", "save_items"]

_ITEMS_NAME = "items.npy"


@dataclass(frozen=True)
class Part:
    """Events in `<name>.<column>` of `directory`, by user and time, and how often they have each item.

    Users are numbered from the part's first one, 0 up to `num_users`; `num_present` of them have an event.
    """

    number: int
    directory: Path
    name: str
    num_users: int
    num_events: int
    num_present: int

    def events(self) -> Events:
        """Memory-mapped."""
        return open_events(self.directory, self.name)


@dataclass(frozen=True)
class PartedLog:
    """All parts, in the order of their users, and what they hold together."""

    parts: Sequence[Part]
    counts: Counts

    @classmethod
    def of(cls, parts: Sequence[Part]) -> "PartedLog":
        """Counts are those of the parts, added up."""
        num_items = int(np.count_nonzero(item_totals([part.directory for part in parts])))
        counts = Counts(sum(part.num_events for part in parts), sum(part.num_present for part in parts), num_items)
        return cls(parts, counts)


def save_items(directory: Path, events: Events, num_items: int) -> None:
    """Keep in `directory` how many of `events` each item has."""
    np.save(directory / _ITEMS_NAME, tally(events.items, num_items))


def item_totals(directories: Sequence[Path]) -> npt.NDArray[np.int64]:
    """How many events each item has in all parts together, from what `save_items` kept (int64 [I])."""
    totals = np.load(directories[0] / _ITEMS_NAME)
    for directory in directories[1:]:
        totals += np.load(directory / _ITEMS_NAME, mmap_mode="r")
    return np.asarray(totals, dtype=np.int64)
