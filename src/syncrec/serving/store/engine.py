"""Connections to SQLite and PostgreSQL, and what their errors mean.

SQLite runs in WAL mode with `synchronous=FULL`: a commit returns when the disk has it. A writer takes its lock at the
beginning (`BEGIN IMMEDIATE`), so that it waits for another one instead of failing half-way.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    ProgrammingError,
    SQLAlchemyError,
)

from syncrec.errors import ConfigError, StoreError, StoreFullError, StoreRefusalError

__all__ = ["clear_store_errors", "read_engine", "store_url", "write_engine"]

_BUSY_TIMEOUT_S = 5.0
_STATEMENT_TIMEOUT_MS = 10_000
_PG_DISK_FULL = "53100"
_REFUSALS = (DataError, IntegrityError, InterfaceError, ProgrammingError)


def store_url(text: str) -> URL:
    """The address of a store: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`.

    Raises:
        ConfigError: another kind of address, or a SQLite database that is no file.
    """
    remedy = "give sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    try:
        url = make_url(text)
    except ArgumentError:
        raise ConfigError(f"--store is no address of a database: {text!r}; {remedy}") from None
    kind = url.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise ConfigError(f"--store knows sqlite and postgresql, got {kind!r}; {remedy}")
    if kind == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigError(f"--store needs a file, since events must outlive the process, got {text!r}; {remedy}")
    return url.set(drivername="postgresql+psycopg" if kind == "postgresql" else "sqlite+pysqlite")


def write_engine(url: URL) -> Engine:
    """Connections whose transactions are durable when committed."""
    engine = create_engine(url, connect_args=_connect_arguments(url), pool_size=1, max_overflow=1)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_immediate)
    return engine


def read_engine(url: URL) -> Engine:
    """Connections without transactions, for single statements that read."""
    engine = create_engine(
        url, connect_args=_connect_arguments(url), isolation_level="AUTOCOMMIT", pool_reset_on_return=None
    )
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _connect_arguments(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False, "isolation_level": None}
    return {"connect_timeout": 5, "options": f"-c statement_timeout={_STATEMENT_TIMEOUT_MS}"}


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={int(_BUSY_TIMEOUT_S * 1000)}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextlib.contextmanager
def clear_store_errors(url: URL) -> Iterator[None]:
    """Turns errors of the database into one line that says where and what to do.

    Raises:
        StoreFullError: there is no room on its disk.
        StoreRefusalError: it does not take the data.
        StoreError: it cannot be reached, is locked for too long, or is damaged.
    """
    where = url.render_as_string(hide_password=True)
    try:
        yield
    except DBAPIError as error:
        detail = " ".join(str(error.orig).split())[:200]
        if _is_full(error.orig):
            raise StoreFullError(f"{where}: no room left on its disk ({detail}); free some, then send again") from None
        if isinstance(error, _REFUSALS):
            raise StoreRefusalError(f"{where}: refuses what it was given: {detail}") from None
        raise StoreError(f"{where}: {detail}; see that the database runs and may be written, then try again") from None
    except SQLAlchemyError as error:
        raise StoreError(f"{where}: {' '.join(str(error).split())[:200]}") from None


def _is_full(error: BaseException | None) -> bool:
    """Whether the disk is full; a limit on the size of files counts too, which SQLite calls a fault of the disk."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)
        return code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_WRITE
    return getattr(error, "sqlstate", None) == _PG_DISK_FULL
