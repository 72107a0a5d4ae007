"""Engines for tests: two workers each, and one that notes what is asked of another."""

import pytest

from syncrec.cluster.engine import open_engine

NUM_WORKERS = 2


def opened(name):
    """The engine `name` with two workers; skips the test where it is not installed."""
    if name == "dask":
        pytest.importorskip(
            "distributed", reason="the extra `cluster` is not installed: pip install 'syncrec[cluster]'"
        )
    return open_engine(name, NUM_WORKERS)


class CountingEngine:
    """Another engine, with the names of the functions that were mapped."""

    def __init__(self, engine):
        self.engine, self.calls = engine, []
        self.num_workers = engine.num_workers

    def map(self, function, tasks):
        self.calls.append(function.__name__)
        return self.engine.map(function, tasks)
