"""One thread that works on what waits, in groups: what arrives while it is busy goes into the next group together.

Both a model and a disk take hardly longer for many than for one, so grouping multiplies what they do in a second and
delays nobody: there is no waiting for a group to fill.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from syncrec.errors import BusyError

__all__ = ["GroupingThread"]

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")


@dataclass(frozen=True, slots=True)
class _Submission(Generic[ItemT, OutcomeT]):
    items: Sequence[ItemT]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Sequence[OutcomeT]]"
    since: float = field(default_factory=time.monotonic)


class GroupingThread(Generic[ItemT, OutcomeT]):
    """Hands items from an event loop to `work` in another thread, and its outcomes back."""

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[ItemT]], Sequence[OutcomeT]],
        *,
        group_size: int,
        most_waiting: int,
        is_shared: Callable[[Exception], bool],
    ) -> None:
        """Begin.

        Args:
            name: of the thread, and of what is busy.
            work: gives one outcome an item, in order.
            group_size: items from which on a group is not made larger.
            most_waiting: items that may wait or be worked on.
            is_shared: whether an error of a group is everybody's; else each submission is tried alone.
        """
        self._name, self._work, self._is_shared = name, work, is_shared
        self._group_size, self._most_waiting = group_size, most_waiting
        self._queue: queue.SimpleQueue[_Submission[ItemT, OutcomeT] | None] = queue.SimpleQueue()
        self._num_waiting = 0
        self._oldest: float | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    async def submit(self, items: Sequence[ItemT]) -> Sequence[OutcomeT]:
        """The outcomes of `items`.

        Raises:
            BusyError: too many items wait already.
            Exception: what `work` raised.
        """
        with self._lock:
            if self._num_waiting + len(items) > self._most_waiting:
                raise BusyError(f"{self._name}: {self._num_waiting} wait already, no more fit in; ask again later")
            self._num_waiting += len(items)
        loop = asyncio.get_running_loop()
        submission: _Submission[ItemT, OutcomeT] = _Submission(items, loop, loop.create_future())
        self._queue.put(submission)
        return await submission.answer

    @property
    def num_waiting(self) -> int:
        """Items that wait or are worked on."""
        return self._num_waiting

    @property
    def lag_s(self) -> float:
        """For how long the oldest item has waited of those that are worked on; 0 if none are."""
        oldest = self._oldest
        return 0.0 if oldest is None else time.monotonic() - oldest

    def close(self) -> None:
        """Work on what was submitted, then stop; not to be called from the event loop's thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, is_last = self._group(first)
            self._oldest = group[0].since
            self._handle(group)
            self._oldest = None
            if is_last:
                return

    def _group(self, first: _Submission[ItemT, OutcomeT]) -> tuple[list[_Submission[ItemT, OutcomeT]], bool]:
        """`first` and what else waits, up to the limit; and whether nothing comes after it."""
        group, size = [first], len(first.items)
        while size < self._group_size:
            try:
                found = self._queue.get_nowait()
            except queue.Empty:
                return group, False
            if found is None:
                return group, True
            group.append(found)
            size += len(found.items)
        return group, False

    def _handle(self, group: Sequence[_Submission[ItemT, OutcomeT]]) -> None:
        items = [item for submission in group for item in submission.items]
        try:
            outcomes = list(self._work(items))
        except Exception as error:
            if len(group) == 1 or self._is_shared(error):
                self._finish([(submission, error) for submission in group])
                return
            for submission in group:
                self._handle([submission])
            return
        ends = [0]
        for submission in group:
            ends.append(ends[-1] + len(submission.items))
        self._finish([(s, outcomes[a:b]) for s, a, b in zip(group, ends, ends[1:], strict=False)])

    def _finish(self, answers: "Sequence[tuple[_Submission[ItemT, OutcomeT], Sequence[OutcomeT] | Exception]]") -> None:
        with self._lock:
            self._num_waiting -= sum(len(submission.items) for submission, _ in answers)
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Sequence[OutcomeT]], object]]] = {}
        for submission, outcome in answers:
            by_loop.setdefault(submission.loop, []).append((submission.answer, outcome))
        for loop, pairs in by_loop.items():
            loop.call_soon_threadsafe(_answer, pairs)


def _answer(pairs: "Sequence[tuple[asyncio.Future[Any], object]]") -> None:
    for future, outcome in pairs:
        if future.done():  # who asked has gone
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
