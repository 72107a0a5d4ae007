"""Groups of submissions, their acknowledgements, and faults."""

import asyncio
import threading

import pytest

from syncrec.errors import BusyError, StoreFullError
from syncrec.serving.store.events import EventStore
from syncrec.serving.store.schema import Event
from syncrec.serving.store.writer import Added, EventWriter


def click(number, **more):
    return Event(f"e{number}", more.pop("kind", "click"), "anna", "books", "b1", 100)


@pytest.fixture
def store(tmp_path):
    opened = EventStore(f"sqlite:///{tmp_path / 'events.db'}")
    yield opened
    opened.close()


def run(store, job, **settings):
    """Awaits `job(writer)`."""

    async def whole():
        writer = EventWriter(store, **settings)
        try:
            return await job(writer)
        finally:
            await asyncio.to_thread(writer.close)

    return asyncio.run(whole())


class Gate:
    """A store that waits before each commit, and can be made to fail."""

    def __init__(self, store):
        self.store, self.fault, self.sizes = store, None, []
        self.entered, self.open = threading.Event(), threading.Event()

    def add(self, events):
        self.entered.set()
        self.open.wait(120)
        self.sizes.append(len(events))
        if self.fault:
            raise self.fault
        return self.store.add(events)


def test_each_submission_learns_what_became_of_its_events(store):
    async def job(writer):
        first = await writer.add([click(1), click(2), click(2)])
        return first, await asyncio.gather(writer.add([click(2), click(3)]), writer.add([click(3)]))

    first, (second, third) = run(store, job)
    assert first == Added(2, 1)
    assert second.stored + third.stored == 1
    assert (second.duplicates, third.duplicates) == (1, 1)
    assert store.count() == 3


def test_what_waits_is_written_together(store):
    gate, commits = Gate(store), []

    async def job(writer):
        tasks = [asyncio.create_task(writer.add([click(i)])) for i in range(50)]
        assert await asyncio.to_thread(gate.entered.wait, 60)
        assert writer.lag_s > 0
        gate.open.set()
        return await asyncio.gather(*tasks)

    outcomes = run(gate, job, observe=lambda seconds, size: commits.append((seconds > 0, size)))
    assert outcomes == [Added(1, 0)] * 50
    assert sum(gate.sizes) == 50
    assert len(gate.sizes) <= 2
    assert commits == [(True, size) for size in gate.sizes]


def test_a_full_disk_is_everybodys_fault_and_passes(store):
    gate = Gate(store)
    gate.open.set()

    async def job(writer):
        gate.fault = StoreFullError("no room")
        refused = await asyncio.gather(writer.add([click(1)]), writer.add([click(2)]), return_exceptions=True)
        gate.fault = None
        return refused, await writer.add([click(1)])

    refused, stored = run(gate, job)
    assert [type(error) for error in refused] == [StoreFullError] * 2
    assert stored == Added(1, 0)
    assert store.count() == 1


def test_a_bad_event_fails_alone(store):
    """Its type is one that no database takes."""

    async def job(writer):
        return await asyncio.gather(
            *(writer.add([click(number, kind=kind)]) for number, kind in [(1, "click"), (2, object()), (3, "click")]),
            return_exceptions=True,
        )

    first, second, third = run(store, job)
    assert isinstance(second, Exception)
    assert (first, third) == (Added(1, 0), Added(1, 0))
    assert store.count() == 2


def test_too_much_waiting_is_refused(store):
    gate = Gate(store)

    async def job(writer):
        first = asyncio.create_task(writer.add([click(i) for i in range(8)]))
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError, match="event writer: 8 wait already, no more fit in"):
            await writer.add([click(i) for i in range(8, 12)])
        gate.open.set()
        await first
        return await writer.add([click(i) for i in range(8, 12)])

    assert run(gate, job, most_waiting=10) == Added(4, 0)


def test_close_writes_what_was_submitted(store):
    gate = Gate(store)

    async def job(writer):
        tasks = [asyncio.create_task(writer.add([click(i)])) for i in range(5)]
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(asyncio.to_thread(writer.close))
        gate.open.set()
        await closing
        return await asyncio.gather(*tasks)

    assert run(gate, job) == [Added(1, 0)] * 5
    assert store.count() == 5


def test_who_goes_away_disturbs_nobody(store):
    gate = Gate(store)

    async def job(writer):
        gone = asyncio.create_task(writer.add([click(1)]))
        stays = asyncio.create_task(writer.add([click(2)]))
        await asyncio.sleep(0.01)
        gone.cancel()
        gate.open.set()
        return await stays

    assert run(gate, job) == Added(1, 0)
    assert store.count() == 2
