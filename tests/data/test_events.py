"""Columns on disk, and a disk without room for them."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from syncrec.data.events import empty_column

ROWS = 20_000


def test_the_room_of_a_mapped_column_is_taken_before_it_is_written(tmp_path):
    column = empty_column(tmp_path / "column", np.int64, 100_000)
    assert (len(column), column.any()) == (100_000, False)
    assert (tmp_path / "column").stat().st_blocks * 512 >= column.nbytes


def test_what_is_written_to_a_mapped_column_is_in_its_file(tmp_path):
    column = empty_column(tmp_path / "column", np.uint32, 3)
    column[:] = [1, 2, 3]
    column.flush()
    assert np.fromfile(tmp_path / "column", dtype=np.uint32).tolist() == [1, 2, 3]


def test_a_column_without_entries_needs_no_file(tmp_path):
    assert len(empty_column(tmp_path / "column", np.int64, 0)) == 0
    assert not (tmp_path / "column").exists()


@pytest.mark.parametrize(("largest_file", "at_fault"), [(50_000, "raw."), (100_000, "raw."), (180_000, "dataset")])
def test_a_disk_that_fills_up_while_preparing_is_one_line_and_leaves_nothing(tmp_path, largest_file, at_fault):
    """A limit on the size of files stands for the disk's end: both are errors of the system while writing."""
    log = tmp_path / "log.csv"
    rows = [f"{'u' * 50}-{n // 5:05d},item-{n % 10},books,{n}" for n in range(ROWS)]
    log.write_text("\n".join(["user,item,domain,timestamp", *rows]))
    done = subprocess.run(
        [sys.executable, "-m", "syncrec", "prepare", str(log), "--out", str(tmp_path / "dataset")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file)),
    )
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert last.startswith("syncrec: ")
    assert at_fault in last
    assert "cannot be written: " in last
    assert list(tmp_path.iterdir()) == [log]
