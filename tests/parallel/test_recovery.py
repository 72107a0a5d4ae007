"""A process that is killed ends all, and what was trained goes on in any number of processes."""

import subprocess
import sys

import members
import numpy as np
import pytest

from syncrec.errors import ArtifactError, LostProcessError, OtherProcessError
from syncrec.runs import LAST_NAME, LOG_NAME
from syncrec.training.tracking import read_log


def _train(path, out, options, settings=members.SETTINGS):
    return members.train(path, out, () if options.get("resume") else settings, **options)


def assert_close(found, expected):
    assert found["epoch"] == expected["epoch"]
    for name, value in expected["model"].items():
        np.testing.assert_allclose(found["model"][name], value, rtol=1e-4, atol=1e-4, err_msg=name)


def test_after_a_kill_training_goes_on_in_one_two_or_four_processes(in_processes, shared_dataset_path, tmp_path):
    (expected,) = in_processes(_train, 1, shared_dataset_path, tmp_path / "never-killed", {})
    for size in (1, 2, 4):
        out = tmp_path / f"then-{size}"
        main, killed = in_processes(_train, 2, shared_dataset_path, out, {"killed_in_step": 9})
        assert killed == -9
        assert isinstance(main, LostProcessError)
        assert "another process has ended or does not answer" in str(main)
        assert "--resume" in str(main)
        assert (out / LAST_NAME).exists()
        found = in_processes(_train, size, shared_dataset_path, out, {"resume": True})
        assert len(found) == size
        for one in found:
            assert_close(one, expected)
        assert [line["epoch"] for line in read_log(out / LOG_NAME)] == [0, 1, 2, 3]


def test_a_second_fit_is_trained_together_too(in_processes, shared_dataset_path, tmp_path):
    settings = (*members.SETTINGS, "training.refit=validation")
    (expected,) = in_processes(_train, 1, shared_dataset_path, tmp_path / "1", {}, settings)
    found = in_processes(_train, 2, shared_dataset_path, tmp_path / "2", {}, settings)
    for one in found:
        assert_close(one, expected)


def test_what_the_main_process_refuses_ends_all(in_processes, shared_dataset_path, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    main, other = in_processes(_train, 2, shared_dataset_path, tmp_path / "run", {})
    assert isinstance(main, ArtifactError)
    assert isinstance(other, OtherProcessError)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_the_command_starts_processes_and_speaks_once(shared_dataset_path, tmp_path):
    command = [sys.executable, "-m", "syncrec", "train", str(shared_dataset_path), "--out", str(tmp_path / "run")]
    settings = [part for setting in members.SETTINGS for part in ("--set", setting)]
    done = subprocess.run([*command, *settings, "--processes", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("run: ") == 1
    again = subprocess.run([*command, *settings, "--processes", "2"], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert again.stderr == (
        f"syncrec: {tmp_path / 'run'}: exists already; choose another --out, or continue it with --resume\n"
    )
    evaluate = [sys.executable, "-m", "syncrec", "evaluate", str(tmp_path / "run")]
    alone, shared = (
        subprocess.run([*evaluate, *more], capture_output=True, text=True, check=True).stdout
        for more in ([], ["--processes", "2"])
    )
    assert shared == alone
