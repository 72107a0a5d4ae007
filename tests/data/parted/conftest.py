"""Two workers of each engine, started once."""

import pytest

from engines import opened


@pytest.fixture(scope="session")
def processes():
    with opened("processes") as engine:
        yield engine


@pytest.fixture(scope="session")
def dask():
    with opened("dask") as engine:
        yield engine


@pytest.fixture(params=["processes", "dask"])
def engine(request):
    return request.getfixturevalue(request.param)
