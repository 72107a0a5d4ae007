"""Stores of both kinds, and small runs to serve."""

import tempfile
from pathlib import Path

import pytest
from postgres import PostgresServer
from sqlalchemy import create_engine, text
from starlette.testclient import TestClient

from jobs import TINY, write_small_log
from syncrec.pipeline import prepare, train
from syncrec.serving.http.app import create_app
from syncrec.serving.http.keys import add_key
from syncrec.serving.live import LiveModel
from syncrec.serving.settings import ServeOptions
from syncrec.serving.store.events import EventStore


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server for the whole session; skips where there is none.

    Its folder is not below pytest's, which is closed to all other users again whenever a pytest begins.
    """
    with tempfile.TemporaryDirectory(prefix="syncrec-postgres-") as folder:
        server = PostgresServer(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def empty_postgres(postgres):
    """The same server without any table of ours."""
    engine = create_engine(postgres.url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS events, requests, store_info"))
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


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A directory with `log.csv`, the dataset `data` and the trained runs `run` and `other`; read only."""
    folder = tmp_path_factory.mktemp("served")
    prepare(write_small_log(folder / "log.csv"), out=folder / "data")
    for name, model, seed in [("run", "syncrec", 0), ("other", "sasrec", 1)]:
        settings = [*TINY, f"training.seed={seed}"]
        train(folder / "data", folder / name, model=model, settings=settings, show_progress=False)
    return folder


@pytest.fixture(scope="session")
def live(place):
    """The run, served; read only."""
    return LiveModel("run", place / "run")


@pytest.fixture
def options(place, tmp_path):
    """Serves `run` and `other` from an empty SQLite store; change what a test is about with `model_copy`."""
    (tmp_path / "state").mkdir()
    return ServeOptions(
        runs={"run": place / "run", "other": place / "other"},
        store=f"sqlite:///{tmp_path / 'events.db'}",
        state=tmp_path / "state",
    )


@pytest.fixture
def client(options):
    """Speaks with an application of these options, in this process."""
    with TestClient(create_app(options), raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def keys(tmp_path):
    """A file with a key for each role, and the headers that send it."""
    path = tmp_path / "keys.toml"
    secrets = {role: add_key(path, f"the-{role}", (role,)) for role in ("read", "write", "admin")}
    return path, {role: {"Authorization": f"Bearer {secret}"} for role, secret in secrets.items()}
