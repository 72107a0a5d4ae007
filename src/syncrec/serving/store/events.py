"""Events in a database: written once each, read as histories."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Result, Table, bindparam, func, literal_column, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.schema import CreateIndex, CreateTable

from syncrec.errors import StoreError
from syncrec.serving.store.engine import clear_store_errors, read_engine, store_url, write_engine
from syncrec.serving.store.quick import QuickRead
from syncrec.serving.store.schema import (
    HISTORY_KINDS,
    SCHEMA_VERSION,
    Event,
    HistoryEvent,
    RequestRecord,
    events,
    metadata,
    requests,
    store_info,
)

__all__ = ["EventStore"]

_SCHEMA_LOCK = 7_243_001  # any number; the same in every process
_DEADLOCK = "40P01"
_ATTEMPTS = 3
_EXPORT_ROWS = 5_000

# Written out, not bound: a planner that does not see the kinds cannot take the index over these kinds alone.
_of_history = events.c.kind.in_([literal_column(f"'{kind}'") for kind in HISTORY_KINDS])
_HISTORY = (
    select(events.c.domain, events.c.item, events.c.timestamp, events.c.kind)
    .where(events.c.user_id == bindparam("user"), _of_history)
    .order_by(events.c.timestamp.desc(), events.c.sequence.desc())
    .limit(bindparam("limit"))
)
_SEEN = (
    select(events.c.item)
    .where(events.c.user_id == bindparam("user"), events.c.domain == bindparam("domain"), _of_history)
    .distinct()
)


class EventStore:
    """One database of events; used by one writing thread and any number of reading ones.

    Raises:
        ConfigError: the address is none that is known.
        StoreError: the database cannot be opened, or was made by another version.
    """

    def __init__(self, address: str, *, must_exist: bool = False) -> None:
        self.url: URL = store_url(address)
        if must_exist and self.url.get_backend_name() == "sqlite" and not Path(self.url.database or "").is_file():
            raise StoreError(f"{self.url.database}: no such store; `syncrec serve` makes one")
        self._writer = write_engine(self.url)
        self._reader = read_engine(self.url)
        self._histories = QuickRead(self._reader, _HISTORY)
        dialect = postgresql if self.url.get_backend_name() == "postgresql" else sqlite
        self._insert = dialect.insert(events).on_conflict_do_nothing().returning(events.c.event_id)
        with clear_store_errors(self.url):
            self._create()

    def _create(self) -> None:
        with self._writer.begin() as connection:
            if self.url.get_backend_name() == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"))
            for table in metadata.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
            self._check_version(connection)

    def _check_version(self, connection: Connection) -> None:
        found = connection.execute(select(store_info.c.value).where(store_info.c.key == "schema_version")).scalar()
        if found is None:
            connection.execute(store_info.insert().values(key="schema_version", value=str(SCHEMA_VERSION)))
        elif found != str(SCHEMA_VERSION):
            raise StoreError(
                f"{self.url.render_as_string(hide_password=True)}: is a store of version {found}, this syncrec keeps "
                f"version {SCHEMA_VERSION}; export it with the syncrec that made it"
            )

    def add(self, new: Sequence[Event]) -> set[str]:
        """Store `new` in one transaction, which is durable on return; an id that is there already changes nothing.

        Returns:
            ids of the events that were stored now; the first of several with one id counts.

        Raises:
            StoreFullError, StoreError: nothing of `new` was stored.
        """
        if not new:
            return set()
        with clear_store_errors(self.url):
            return self._add(new, _ATTEMPTS)

    def _add(self, new: Sequence[Event], attempts: int) -> set[str]:
        try:
            with self._writer.begin() as connection:
                return set(connection.execute(self._insert, [asdict(entry) for entry in new]).scalars())
        except OperationalError as error:
            if attempts == 1 or not _may_pass(error):
                raise
        return self._add(new, attempts - 1)

    def add_requests(self, new: Sequence[RequestRecord]) -> None:
        """Store what the service recorded of its answers, at least one, in one transaction.

        Raises:
            StoreError: none of them was stored.
        """
        with clear_store_errors(self.url), self._writer.begin() as connection:
            connection.execute(requests.insert(), [asdict(entry) for entry in new])

    def histories(self, users: Sequence[str], limit: int) -> list[list[HistoryEvent]]:
        """The last `limit` events of each user that count as history, in order of time, then of arrival."""
        asked = [{"user": user, "limit": limit} for user in users]
        found = self._histories.rows(asked) or self._read(_HISTORY, asked, Result.all)
        return [[HistoryEvent(*row) for row in reversed(rows)] for rows in found]

    def seen(self, user: str, domain: str) -> set[str]:
        """All items of `domain` in the history of `user`."""
        (rows,) = self._read(_SEEN, [{"user": user, "domain": domain}], Result.all)
        return {row[0] for row in rows}

    def ping(self) -> None:
        """A sign of life: read the database.

        Raises:
            StoreError: it cannot be read.
        """
        self._read(select(store_info.c.value), [{}], Result.all)

    def count(self, kinds: Sequence[str] | None = None) -> int:
        """The number of events of these kinds (None: of all)."""
        statement = select(func.count()).select_from(events)
        statement = statement if kinds is None else statement.where(events.c.kind.in_(kinds))
        (rows,) = self._read(statement, [{}], Result.all)
        return int(rows[0][0])

    def _read(self, statement: Any, parameters: Sequence[dict[str, Any]], collect: Any) -> list[Any]:
        with clear_store_errors(self.url):
            try:
                return self._read_once(statement, parameters, collect)
            except OperationalError as error:
                if not error.connection_invalidated:
                    raise
                return self._read_once(statement, parameters, collect)

    def _read_once(self, statement: Any, parameters: Sequence[dict[str, Any]], collect: Any) -> list[Any]:
        with self._reader.connect() as connection:
            return [collect(connection.execute(statement, entry)) for entry in parameters]

    def rows(self, kinds: Sequence[str] | None) -> Iterator[Event]:
        """Events of these kinds (None: all) in order of arrival, read in pieces; writers go on meanwhile."""
        statement = _piece(events)
        statement = statement if kinds is None else statement.where(events.c.kind.in_(kinds))
        return (Event(*row[1:]) for row in self._in_pieces(statement))

    def request_rows(self) -> Iterator[RequestRecord]:
        """What the service recorded of its answers, likewise."""
        return (RequestRecord(*row[1:]) for row in self._in_pieces(_piece(requests)))

    def count_requests(self) -> int:
        """The number of these."""
        (rows,) = self._read(select(func.count()).select_from(requests), [{}], Result.all)
        return int(rows[0][0])

    def _in_pieces(self, statement: Any) -> Iterator[Any]:
        last = 0
        while piece := self._read(statement, [{"last": last, "rows": _EXPORT_ROWS}], Result.all)[0]:
            yield from piece
            last = piece[-1].sequence

    def close(self) -> None:
        """Give all connections back."""
        self._writer.dispose()
        self._reader.dispose()


def _piece(table: Table) -> Any:
    after = table.c.sequence > bindparam("last")
    return select(table).where(after).order_by(table.c.sequence).limit(bindparam("rows"))


def _may_pass(error: OperationalError) -> bool:
    """Whether the same again may well succeed: the connection was lost, or another writer was in the way."""
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) == _DEADLOCK
