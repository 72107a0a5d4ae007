"""The one thread that writes events; an acknowledgement is only given when the transaction of its events is durable."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syncrec.errors import StoreRefusalError
from syncrec.serving.grouping import GroupingThread
from syncrec.serving.store.events import EventStore
from syncrec.serving.store.schema import Event

__all__ = ["Added", "EventWriter"]

_GROUP_SIZE = 2_000


@dataclass(frozen=True, slots=True)
class Added:
    """How many events of a submission were stored, and how many were there already."""

    stored: int
    duplicates: int


class EventWriter:
    """Takes events from an event loop; `observe` is told the seconds of each commit and its number of events."""

    def __init__(
        self, store: EventStore, observe: Callable[[float, int], None] = lambda _s, _n: None, most_waiting: int = 10_000
    ) -> None:
        self._store, self._observe = store, observe
        self._thread: GroupingThread[Event, bool] = GroupingThread(
            "event writer",
            self._write,
            group_size=_GROUP_SIZE,
            most_waiting=most_waiting,
            is_shared=lambda error: not isinstance(error, StoreRefusalError),
        )

    async def add(self, events: Sequence[Event]) -> Added:
        """Store `events`; they are durable when this returns.

        Raises:
            StoreError, BusyError: they are not stored.
        """
        stored = sum(await self._thread.submit(events))
        return Added(stored, len(events) - stored)

    @property
    def lag_s(self) -> float:
        """For how long the events have waited that are being written; 0 if none are."""
        return self._thread.lag_s

    def close(self) -> None:
        """Store what was submitted, then stop."""
        self._thread.close()

    def _write(self, events: Sequence[Event]) -> list[bool]:
        begun = time.perf_counter()
        new = self._store.add(events)
        self._observe(time.perf_counter() - begun, len(events))
        return [_take(new, event.event_id) for event in events]


def _take(names: set[str], name: str) -> bool:
    """Whether `name` is there; it is only once."""
    if name not in names:
        return False
    names.remove(name)
    return True
