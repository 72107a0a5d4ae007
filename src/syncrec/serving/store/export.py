"""A log of the store's events, as `syncrec prepare` takes it."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from syncrec import artifacts
from syncrec.errors import DataError
from syncrec.serving.store.events import EventStore
from syncrec.serving.store.schema import HISTORY_KINDS, Event

__all__ = ["Exported", "export_events"]

_LOG_COLUMNS = {"user": "user_id", "item": "item", "domain": "domain", "timestamp": "timestamp"}
_EVENT_COLUMNS = {name: name for name in ("kind", "event_id", "request_id", "arm", "position", "propensity")}
_MORE_COLUMNS = {**_EVENT_COLUMNS, **{name: name for name in ("latency_ms", "num_items", "status")}}


@dataclass(frozen=True)
class Exported:
    """Events written, and left out because their item belongs to another domain."""

    num_written: int
    num_left_out: int


def export_events(
    store: EventStore, path: Path, *, all_kinds: bool = False, report: Callable[[str], None] = lambda _: None
) -> Exported:
    """Write user, item, domain and timestamp of the events that count as history, in one rename.

    An item belongs to the domain in which it was met first: `prepare` refuses a log with an item in two domains, and
    one wrong event shall not stop the next training.

    Args:
        store: where they are.
        path: the CSV file to write.
        all_kinds: impressions and all others too, with all that is known about them, and what the service recorded
            of its answers (`kind` is `request`); nothing is left out.
        report: is told which items were left out.

    Raises:
        StoreError, ArtifactError: it cannot be read or written.
        DataError: there are no events.
    """
    columns = {**_LOG_COLUMNS, **(_MORE_COLUMNS if all_kinds else {})}
    domains = _FirstDomains(report)
    written = 0
    with artifacts.replaced_file(path) as place, place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        rows = store.rows(None) if all_kinds else domains.keep(store.rows(HISTORY_KINDS))
        for event in rows:
            writer.writerow([getattr(event, name, None) for name in columns.values()])
            written += 1
        for record in store.request_rows() if all_kinds else ():
            writer.writerow(["request" if name == "kind" else getattr(record, name, None) for name in columns.values()])
            written += 1
        if not written:
            kinds = "events" if all_kinds else f"events of the kinds {', '.join(HISTORY_KINDS)}"
            raise DataError(f"{store.url.render_as_string(hide_password=True)}: holds no {kinds} to export")
    return Exported(written, domains.num_left_out)


class _FirstDomains:
    """Lets events through whose item is in the domain it was met in first."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._domain_of: dict[str, str] = {}
        self._told: set[tuple[str, str]] = set()
        self._report = report
        self.num_left_out = 0

    def keep(self, events: Iterator[Event]) -> Iterator[Event]:
        """Those of `events` that fit."""
        for event in events:
            first = self._domain_of.setdefault(event.item, event.domain)
            if first == event.domain:
                yield event
            else:
                self._leave_out(event, first)

    def _leave_out(self, event: Event, first: str) -> None:
        self.num_left_out += 1
        if (event.item, event.domain) not in self._told:
            self._told.add((event.item, event.domain))
            self._report(f"left out: item {event.item!r} of {event.domain!r}, which is one of {first!r}")
