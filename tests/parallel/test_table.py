"""An item table that is shared out over processes is the whole table."""

import members
import numpy as np
import pytest
from test_training import EVERY_PART, assert_same

from syncrec.errors import CheckpointError, ConfigError, OtherProcessError
from syncrec.evaluation import EvaluationProtocol, NegativeDraw
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


@pytest.fixture(params=[False, True], ids=["whole table", "shared out table"])
def run_path(request, in_processes, shared_dataset_path, tmp_path):
    settings = (*SETTINGS, "training.epochs=1", _sharded(request.param))
    assert len(in_processes(_train_with, 2, shared_dataset_path, tmp_path / "run", settings)[0]) == 2
    return tmp_path / "run"


@pytest.mark.parametrize("scope", ["domain", "all"])
def test_an_evaluation_in_several_processes_is_that_in_one(in_processes, run_path, scope):
    draw = NegativeDraw(EvaluationProtocol("few", scope, 4, "few of many"), 5, "test")
    (alone,) = in_processes(members.ranks, 1, run_path, draw)
    assert len(set(alone["drawn"]["fused"][0])) > 2
    shared = in_processes(members.ranks, 3, run_path, draw)
    assert shared == [alone] * 3


def test_equal_items_tie_whoever_holds_them(in_processes, run_path):
    (alone,) = in_processes(members.ranks_of_equal_items, 1, run_path)
    assert set(alone) <= {5.0, 3.5, 7.5}, "the mean ranks of 9, 6 and 14 equal items"
    assert in_processes(members.ranks_of_equal_items, 4, run_path) == [alone] * 4


def test_a_failure_in_one_process_is_told_by_the_main_one(in_processes, run_path):
    main, last = in_processes(members.ranks_without_a_number, 2, run_path)
    assert isinstance(main, OtherProcessError)
    assert "process 1 of 2: answer 'cross' scored item" in str(main)
    assert "as NaN" in str(last)


def _train(path, out, options):
    return members.train(path, out, () if options.get("resume") else SETTINGS, **options)


@pytest.mark.timeout(600)
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


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (True, True)], ids=str)
def test_a_training_begins_from_a_run_whether_its_table_is_shared_out_or_not(
    in_processes, shared_dataset_path, make_dataset_path, tmp_path, before, after
):
    start = "model.item_start=random" if before else "model.item_start=co-occurrence"
    settings = (*SETTINGS, _sharded(before), start)
    assert len(in_processes(_train_with, 2, shared_dataset_path, tmp_path / "earlier", settings)[0]) == 2
    earlier, later = rows_by_name(tmp_path / "earlier"), make_dataset_path((11, 6, 12))
    standing = (*SETTINGS, _sharded(after), "training.learning_rate=1e-12", "training.epochs=1")
    for size in (1, 3):
        arguments = (later, tmp_path / f"{size}", standing, tmp_path / "earlier")
        assert in_processes(members.warm_start, size, *arguments) == [None] * size
        rows = rows_by_name(tmp_path / f"{size}")
        assert set(rows) - set(earlier) == {("Books", "B09"), ("Books", "B10")}
        for name in rows.keys() & earlier.keys():
            np.testing.assert_allclose(rows[name], earlier[name], atol=1e-6, err_msg=str(name))


def _sharded(is_sharded):
    return f"model.sharded_items={str(is_sharded).lower()}"


def _train_with(path, out, settings):
    return members.train(path, out, settings)


def rows_by_name(out):
    """The item table's rows, those of start tokens included."""
    run = open_run(out)
    table = run.trained.model.embedding.items.weight.detach().numpy()
    items = [(d, name) for number, d in enumerate(run.dataset.domains) for name in run.dataset.item_tables[number]]
    starts = [("start", number) for number in range(len(table) - len(items))]
    return dict(zip([*items, *starts], table, strict=True))


def test_a_start_from_co_occurrence_is_refused(shared_dataset_path, tmp_path):
    with pytest.raises(ConfigError, match="sharded_items needs item_start = random"):
        train(shared_dataset_path, tmp_path / "run", settings=["model.sharded_items=true"], show_progress=False)
