"""The tables of the event store, the same in SQLite and PostgreSQL."""

from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, Table, Text

__all__ = [
    "HISTORY_KINDS",
    "SCHEMA_VERSION",
    "Event",
    "HistoryEvent",
    "RequestRecord",
    "events",
    "metadata",
    "requests",
    "store_info",
]

SCHEMA_VERSION = 1
HISTORY_KINDS = ("click", "purchase")

metadata = MetaData()

store_info = Table("store_info", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

events = Table(
    "events",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("event_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("item", Text, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("request_id", Text),
    Column("arm", Text),
    Column("position", Integer),
    Column("propensity", Float),
)
requests = Table(
    "requests",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("request_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("arm", Text, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("num_items", Integer, nullable=False),
    Column("status", Integer, nullable=False),
)
_counts_as_history = events.c.kind.in_(HISTORY_KINDS)
Index(
    "events_history",
    events.c.user_id,
    events.c.timestamp,
    events.c.sequence,
    sqlite_where=_counts_as_history,
    postgresql_where=_counts_as_history,
)


@dataclass(frozen=True, slots=True)
class Event:
    """What a user did, or was shown; `event_id` makes it one event however often it is sent.

    `timestamp` is in unix seconds. `request_id`, `arm`, `position` (from 1) and `propensity` (0..1) say which answer
    it goes back to.
    """

    event_id: str
    kind: str
    user_id: str
    domain: str
    item: str
    timestamp: int
    request_id: str | None = None
    arm: str | None = None
    position: int | None = None
    propensity: float | None = None


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One answer of a service that runs an experiment, or its fault; `status` as in HTTP, `timestamp` in unix seconds.

    `latency_ms`: from the checked question to the answer's items.
    """

    request_id: str
    user_id: str
    domain: str
    timestamp: int
    arm: str
    latency_ms: float
    num_items: int
    status: int


class HistoryEvent(NamedTuple):
    """An event that counts as history (`HISTORY_KINDS`); unix seconds."""

    domain: str
    item: str
    timestamp: int
    kind: str
