"""A small job made by the command line, and ways to call it."""

import shutil
from pathlib import Path

import pytest

from jobs import TINY, as_options, write_small_log
from syncrec.cli import main

TINY_OPTIONS = as_options(TINY)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with `log.csv`, the dataset `data` and the run `run`, all made by the command line; read only."""
    folder = tmp_path_factory.mktemp("job")
    log = write_small_log(folder / "log.csv")
    assert main(["prepare", str(log), "--out", str(folder / "data")]) == 0
    assert main(["train", str(folder / "data"), "--out", str(folder / "run"), *TINY_OPTIONS]) == 0
    return folder


@pytest.fixture
def copy(place, tmp_path):
    """A copy of `place` to damage."""
    return Path(shutil.copytree(place, tmp_path / "copy"))


@pytest.fixture
def call(capsys):
    """Runs a command in this process; gives exit code, output and errors."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(call):
    """Runs a command that must be refused in one line; gives exit code and line."""

    def run(*arguments):
        code, _, err = call(*arguments)
        lines = [line for line in err.splitlines() if line.startswith("syncrec: ")]
        assert len(lines) == 1
        assert err.endswith(lines[0] + "\n")
        assert "Traceback" not in err
        return code, lines[0].removeprefix("syncrec: ")

    return run
