"""An experiment that was rehearsed on simulated users."""

import pytest

from rehearsal import rehearse


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory):
    """A folder with `rehearsal.toml`, running, and the log of its users, `events.csv` and `.parquet`; read only."""
    return rehearse(tmp_path_factory.mktemp("rehearsal"))
