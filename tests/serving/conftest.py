"""Stores of both kinds, and small runs to serve."""

import pytest
from postgres import PostgresServer
from sqlalchemy import create_engine, text

from syncrec.serving.store.events import EventStore


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A PostgreSQL server for the whole session; skips where there is none."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


@pytest.fixture
def empty_postgres(postgres):
    """The same server without any table of ours."""
    engine = create_engine(postgres.url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS events, store_info"))
    engine.dispose()
    return postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path):
    """The address of an empty store."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'events.db'}"
    return request.getfixturevalue("empty_postgres").url


@pytest.fixture
def store(address):
    """An empty store."""
    opened = EventStore(address)
    yield opened
    opened.close()
