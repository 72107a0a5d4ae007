"""Small logs, and the real ones where they are at hand."""

import os
from pathlib import Path

os.environ.setdefault("POLARS_MAX_THREADS", "2")

import pytest

from syncrec.config import PrepareConfig
from syncrec.data.prepare import Source, prepare

ROOT = Path(__file__).resolve().parents[2]
HEADER = "user,item,domain,timestamp"


@pytest.fixture(scope="session")
def shared_log():
    """The path of a real log by its name; the test is skipped where there is none."""

    def find(name):
        path = Path(os.environ.get("SYNCREC_DATA_DIR") or ROOT / "../shared/data") / name
        if not path.exists():
            pytest.skip(f"{path} is not here; set SYNCREC_DATA_DIR to the directory of the real logs")
        return path

    return find


@pytest.fixture
def write_log(tmp_path):
    """Writes lines to a file of the test's directory and gives its path."""

    def write(*lines, name="log.csv", header=HEADER):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in ([header, *lines] if header else lines)))
        return path

    return write


@pytest.fixture
def prepared(tmp_path):
    """Prepares sources (paths, or pairs of domain and path) with all events kept unless told otherwise."""

    def run(*sources, out="dataset", columns=None, preset=None, overwrite=False, report=lambda _: None, **settings):
        named = [Source(str(s[1]), s[0]) if isinstance(s, tuple) else Source(str(s)) for s in sources]
        config = PrepareConfig(**{"min_user_interactions": 1, **settings})
        return prepare(
            named, tmp_path / out, config, columns=columns, preset=preset, overwrite=overwrite, report=report
        )

    return run


@pytest.fixture
def history_of():
    """The item ids of one user's history, in order."""

    def read(dataset, user):
        return [dataset.item_id(int(item)) for item in dataset.history(dataset.user_index(user))]

    return read
