"""How the experiment of a service stands, from the events in its store."""

import itertools
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from syncrec.errors import DataError, SyncrecError
from syncrec.experimentation.events import KINDS, Event, event_frame
from syncrec.experimentation.lifecycle import load_experiment
from syncrec.experimentation.report import Report, report_experiment
from syncrec.serving.store.events import EventStore
from syncrec.serving.store.schema import Event as StoredEvent
from syncrec.serving.store.schema import RequestRecord

__all__ = ["ExperimentView", "LiveExperiment"]

_AGAIN_AFTER_S = 30.0
_MOST_EVENTS = 300_000  # some seconds of work, and some hundred megabytes


@dataclass(frozen=True)
class ExperimentView:
    """An experiment, its state in words, and the report; without one, `problem` says why. `made_at` in unix seconds."""

    name: str
    state: str
    report: Report | None
    problem: str
    made_at: float


class LiveExperiment:
    """Makes the report when somebody wants to see it, at most every 30 seconds.

    A look costs no validity: the intervals hold at all looks together.
    """

    def __init__(self, path: Path, store: EventStore) -> None:
        self._path, self._store = path, store
        self._lock = threading.Lock()
        self._view: ExperimentView | None = None

    def view(self) -> ExperimentView:
        """The latest one; takes as long as the store takes to read, so not for an event loop."""
        with self._lock:
            if self._view is None or time.time() - self._view.made_at > _AGAIN_AFTER_S:
                self._view = self._make()
            return self._view

    def _make(self) -> ExperimentView:
        now = time.time()
        try:
            experiment = load_experiment(self._path)
        except SyncrecError as error:
            return ExperimentView(self._path.stem, "unreadable", None, str(error), now)
        state = experiment.state
        words = state.phase if not state.ramp else f"{state.phase}, {state.ramp:.0%} of users"
        try:
            num_events = self._store.count(KINDS) + self._store.count_requests()
            if num_events > _MOST_EVENTS:
                raise DataError(
                    f"{num_events:,} events are too many for a page; `syncrec export-events` and `syncrec experiment "
                    "report` tell the rest"
                )
            sent, own = map(_event, self._store.rows(KINDS)), map(_request, self._store.request_rows())
            found = report_experiment(experiment, event_frame(itertools.chain(own, sent)))
            return ExperimentView(experiment.definition.name, words, found, "", now)
        except SyncrecError as error:
            return ExperimentView(experiment.definition.name, words, None, str(error), now)


def _request(record: RequestRecord) -> Event:
    return Event(
        None,
        "request",
        record.user_id,
        record.domain,
        None,
        record.timestamp,
        record.request_id,
        record.arm,
        latency_ms=record.latency_ms,
        num_items=record.num_items,
        status=record.status,
    )


def _event(stored: StoredEvent) -> Event:
    return Event(
        stored.event_id,
        stored.kind,
        stored.user_id,
        stored.domain,
        stored.item,
        stored.timestamp,
        stored.request_id,
        stored.arm,
        stored.position,
        stored.propensity,
    )
