"""An item table that is shared out over processes is the whole table."""

import members
import numpy as np
import pytest
from test_training import EVERY_PART, assert_same

from syncrec.errors import CheckpointError, ConfigError
from syncrec.pipeline import open_run, train

RANDOM = {"model": members.RANDOM}
SETTINGS = ("model.sharded_items=true", "model.item_start=random", *members.SETTINGS)


def _steps(path, out, sections, is_sharded):
    return members.steps(path, out, sections, is_sharded=is_sharded)


@pytest.mark.parametrize(
    "sections",
    [
        EVERY_PART,
        {"training": {"item_updates": "rows"}, **EVERY_PART},
        {"loss": {"kind": "full", "mutual_information_weight": 0.5}},
        {"loss": {"kind": "bce", "num_negatives": 2}},
    ],
    ids=["sampled", "rows", "full", "bce"],
)
def test_two_processes_with_half_a_table_each_are_one_with_all_of_it(
    in_processes, shared_dataset_path, tmp_path, sections
):
    sections = {**sections, **RANDOM}
    (alone,) = in_processes(_steps, 1, shared_dataset_path, tmp_path / "1", sections, False)
    for found in in_processes(_steps, 2, shared_dataset_path, tmp_path / "2", sections, True):
        assert_same(found, alone)


def test_ranks_over_parts_of_the_catalogue_are_those_over_all_of_it(in_processes, shared_dataset_path, tmp_path):
    (alone,) = in_processes(members.validation, 1, shared_dataset_path, tmp_path / "1")
    shared = in_processes(members.validation, 3, shared_dataset_path, tmp_path / "3", True)
    assert shared == [alone] * 3


def _train(path, out, options):
    return members.train(path, out, () if options.get("resume") else SETTINGS, **options)


def test_shards_are_read_by_any_number_of_processes_and_by_one_that_answers(
    in_processes, shared_dataset_path, tmp_path
):
    in_processes(_train, 2, shared_dataset_path, tmp_path / "never-killed", {})
    expected = answers(tmp_path / "never-killed")
    for size in (1, 2, 4):
        out = tmp_path / f"then-{size}"
        in_processes(_train, 2, shared_dataset_path, out, {"killed_in_step": 9})
        in_processes(_train, size, shared_dataset_path, out, {"resume": True})
        np.testing.assert_allclose(answers(out), expected, rtol=1e-3, atol=1e-3)
        folders = sorted(path.name for path in out.glob("*-shards-*"))
        assert len(folders) == 2, "of the last and the best checkpoint, and none that nobody names"


def answers(out):
    run = open_run(out)
    return [entry.score for domain in run.dataset.domains for entry in run.recommend("u003", domain, k=5)]


def test_a_folder_that_is_gone_is_one_line(shared_dataset_path, tmp_path):
    run = train(shared_dataset_path, tmp_path / "run", settings=SETTINGS, show_progress=False)
    for folder in run.path.glob("best-shards-*"):
        (folder / ".metadata").unlink()
    with pytest.raises(CheckpointError, match="the rows of the item table are missing"):
        open_run(run.path).recommend("u003", "Books")


def test_a_warm_start_is_refused(shared_dataset_path, tmp_path):
    whole = [setting for setting in SETTINGS if "sharded" not in setting]
    train(shared_dataset_path, tmp_path / "run", settings=whole, show_progress=False)
    with pytest.raises(CheckpointError, match="sharded_items cannot begin from another run"):
        train(
            shared_dataset_path, tmp_path / "next", settings=SETTINGS, warm_start=tmp_path / "run", show_progress=False
        )
    assert not (tmp_path / "next").exists()


def test_a_start_from_co_occurrence_is_refused(shared_dataset_path, tmp_path):
    with pytest.raises(ConfigError, match="sharded_items needs item_start = random"):
        train(shared_dataset_path, tmp_path / "run", settings=["model.sharded_items=true"], show_progress=False)
