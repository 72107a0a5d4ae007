"""One thread that writes events: what arrives while the disk is busy goes into the next transaction together.

A commit costs one wait for the disk, however many events it holds, so grouping them multiplies what a store takes in
and delays nobody: an acknowledgement is only given when the transaction of its events is durable.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from syncrec.errors import StoreError, StoreRefusalError
from syncrec.serving.store.events import EventStore
from syncrec.serving.store.schema import Event

__all__ = ["Added", "EventWriter"]

_MOST_EVENTS = 2_000


@dataclass(frozen=True, slots=True)
class Added:
    """How many events of a submission were stored, and how many were there already."""

    stored: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class _Submission:
    events: Sequence[Event]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Added]"
    since: float = field(default_factory=time.monotonic)


class EventWriter:
    """Takes submissions from an event loop; `observe` is told the seconds of each commit and its number of events."""

    def __init__(
        self, store: EventStore, observe: Callable[[float, int], None] = lambda _s, _n: None, most_waiting: int = 10_000
    ) -> None:
        self._store, self._observe, self._most_waiting = store, observe, most_waiting
        self._queue: queue.SimpleQueue[_Submission | None] = queue.SimpleQueue()
        self._num_waiting = 0
        self._oldest: float | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="event-writer")
        self._thread.start()

    async def add(self, events: Sequence[Event]) -> Added:
        """Store `events`; they are durable when this returns.

        Raises:
            StoreError: they are not stored, or too many wait already.
        """
        with self._lock:
            if self._num_waiting + len(events) > self._most_waiting:
                raise StoreError(f"{self._num_waiting} events wait to be stored, more than fits; send again later")
            self._num_waiting += len(events)
        loop = asyncio.get_running_loop()
        submission = _Submission(events, loop, loop.create_future())
        self._queue.put(submission)
        return await submission.answer

    @property
    def lag_s(self) -> float:
        """For how long the events have waited that are being written; 0 if none are."""
        oldest = self._oldest
        return 0.0 if oldest is None else time.monotonic() - oldest

    def close(self) -> None:
        """Store what was submitted, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, is_last = self._group(first)
            self._oldest = group[0].since
            self._write(group)
            self._oldest = None
            if is_last:
                return

    def _group(self, first: _Submission) -> tuple[list[_Submission], bool]:
        """`first` and what else waits, up to a limit; and whether there is nothing to come."""
        group, size = [first], len(first.events)
        while size < _MOST_EVENTS:
            try:
                found = self._queue.get_nowait()
            except queue.Empty:
                return group, False
            if found is None:
                return group, True
            group.append(found)
            size += len(found.events)
        return group, False

    def _write(self, group: Sequence[_Submission]) -> None:
        events = [event for submission in group for event in submission.events]
        begun = time.perf_counter()
        try:
            new = self._store.add(events)
        except Exception as error:
            self._refuse(group, error)
        else:
            self._observe(time.perf_counter() - begun, len(events))
            for submission in group:
                self._finish(submission, _count(submission.events, new))

    def _refuse(self, group: Sequence[_Submission], error: Exception) -> None:
        """A fault of the store is everybody's; from an event that it refuses only who sent it shall suffer."""
        if not isinstance(error, StoreRefusalError) or len(group) == 1:
            for submission in group:
                self._finish(submission, error)
            return
        for submission in group:
            self._write([submission])

    def _finish(self, submission: _Submission, outcome: Added | Exception) -> None:
        with self._lock:
            self._num_waiting -= len(submission.events)
        submission.loop.call_soon_threadsafe(_answer, submission.answer, outcome)


def _answer(future: "asyncio.Future[Added]", outcome: Added | Exception) -> None:
    if future.done():  # who asked has gone
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _count(events: Sequence[Event], new: set[str]) -> Added:
    """The outcome for one submission; what it stored is taken out of `new`, for an id counts once."""
    stored = 0
    for event in events:
        if event.event_id in new:
            new.discard(event.event_id)
            stored += 1
    return Added(stored, len(events) - stored)
