"""What the service itself knows of its answers, kept for an experiment's guardrails: time, items, faults by arm.

An answer only puts a record into a list. Once a second all of them go into the store in one transaction, in another
thread. They are a sample of how the service does, no promise to anybody: those of the last second are lost if the
process dies, and if the store takes none they are dropped.
"""

import asyncio
import contextlib
from collections.abc import Callable

from syncrec.errors import StoreError
from syncrec.serving.store.events import EventStore
from syncrec.serving.store.schema import RequestRecord

__all__ = ["RequestLog"]

_EVERY_S = 1.0
_MOST_WAITING = 100_000


class RequestLog:
    """Records of answers on their way into the store; all but `_write` in the event loop's thread."""

    def __init__(self, store: EventStore, report: Callable[[int, str], None]) -> None:
        """`report` is told how many records the store did not take, and why."""
        self._store, self._report = store, report
        self._waiting: list[RequestRecord] = []

    def add(self, record: RequestRecord) -> None:
        """Keep one; above a hundred thousand that wait, it is dropped."""
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(record)

    async def run(self) -> None:
        """Write what waits, every second, until cancelled; then what is left."""
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(_EVERY_S)
                await self._flush()
        await self._flush()

    async def _flush(self) -> None:
        if self._waiting:
            records, self._waiting = self._waiting, []
            await asyncio.shield(asyncio.to_thread(self._write, records))

    def _write(self, records: list[RequestRecord]) -> None:
        try:
            self._store.add_requests(records)
        except StoreError as error:
            self._report(len(records), str(error))
