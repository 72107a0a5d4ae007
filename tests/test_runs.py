import json
import shutil

import pytest
import torch

from builders import small_config, tiny_arrays
from syncrec import artifacts
from syncrec.checkpoint import save_checkpoint
from syncrec.data.dataset import Dataset, write_dataset
from syncrec.errors import ArtifactError, CheckpointError, ConfigError
from syncrec.models.registry import build_model
from syncrec.runs import BEST_NAME, RunDirectory

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path, tiny_dataset):
    return RunDirectory.create(tmp_path / "runs" / "first", small_config(training={"epochs": 7}), tiny_dataset)


def save_best(run, **state):
    model = build_model(run.catalogue, run.config.model)
    save_checkpoint(run.path / BEST_NAME, {"model": model.state_dict()}, {"epoch": 4, "value": 0.5, **state})
    return model


def test_an_opened_run_equals_the_one_created(run):
    opened = RunDirectory.open(run.path)
    assert opened == run
    assert opened.config.training.epochs == 7
    assert opened.catalogue.offsets == (0, 9, 10, 24)
    assert set(opened.info["versions"]) == {"syncrec", "python", "torch"}


def test_a_run_knows_which_domains_read_each_other(tmp_path, tiny_dataset, run):
    assert (run.communities, run.named_communities) == ((), [["Books", "Food", "Tools"]])
    RunDirectory.create(tmp_path / "apart", small_config(), tiny_dataset, communities=(0, 1, 0))
    opened = RunDirectory.open(tmp_path / "apart")
    assert opened.catalogue.communities == opened.communities == (0, 1, 0)
    assert opened.named_communities == [["Books", "Tools"], ["Food"]]
    info = {key: value for key, value in opened.info.items() if key != "communities"}  # of a run made before
    (opened.path / "run.json").write_text(json.dumps(info))
    assert RunDirectory.open(opened.path).communities == ()


def test_a_run_made_before_there_was_a_setting_has_the_value_it_was_made_with(run):
    file = run.path / "config.toml"
    assert run.config.transfer.weights == "harm"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("weights")))
    assert RunDirectory.open(run.path).config.transfer.weights == "relative"


def test_a_run_is_created_in_an_empty_directory_only(tmp_path, tiny_dataset):
    (tmp_path / "empty").mkdir()
    RunDirectory.create(tmp_path / "empty", small_config(), tiny_dataset)
    for name in ("empty", "file"):
        (tmp_path / "file").touch()
        with pytest.raises(ArtifactError, match="exists already; choose another --out"):
            RunDirectory.create(tmp_path / name, small_config(), tiny_dataset)


def test_what_is_no_run_is_refused(tmp_path, run):
    with pytest.raises(ArtifactError, match="no such run; `syncrec train DATASET --out "):
        RunDirectory.open(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(ArtifactError, match=r"holds no run\.json, so it is no run"):
        RunDirectory.open(tmp_path / "other")
    info = run.path / "run.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), "schema_version": 99}))
    with pytest.raises(ArtifactError, match="is of a run of version 99, expected"):
        RunDirectory.open(run.path)


def test_a_damaged_configuration_is_refused(run):
    (run.path / "config.toml").write_text("[training]\nepochs = 'many'\n")
    with pytest.raises(ConfigError, match=r"training\.epochs.*config\.toml"):
        RunDirectory.open(run.path)


def test_run_and_dataset_moved_together_still_find_each_other(tmp_path, tiny_dataset_path):
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(tiny_dataset_path, before / "dataset")
    RunDirectory.create(before / "runs" / "a", small_config(), Dataset(before / "dataset"))
    before.rename(after)
    assert RunDirectory.open(after / "runs" / "a").dataset().path == after / "dataset"


def test_a_dataset_that_is_gone_names_the_remedy_and_a_moved_one_is_found(tmp_path, tiny_dataset_path):
    shutil.copytree(tiny_dataset_path, tmp_path / "old")
    run = RunDirectory.create(tmp_path / "run", small_config(), Dataset(tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(ArtifactError, match="is gone; if it was moved, give --dataset"):
        run.dataset()
    assert run.dataset(tmp_path / "new").num_users == 60


def test_another_dataset_is_refused(run, tmp_path, tiny_dataset_path):
    arrays = tiny_arrays()
    arrays.items[0] = 3 - arrays.items[0] % 2
    with artifacts.staged_directory(tmp_path / "other") as stage:
        write_dataset(stage, arrays, {"settings": {}})
    with pytest.raises(ArtifactError, match=r"is not the dataset that .* was trained on"):
        run.dataset(tmp_path / "other")


def test_before_the_first_epoch_there_is_no_model(run):
    with pytest.raises(CheckpointError, match="no such checkpoint; train the run first"):
        run.trained_model(CPU)


def test_the_trained_model_is_the_best_one_in_evaluation_mode(run):
    saved = save_best(run)
    trained = run.trained_model(CPU)
    assert not trained.model.training
    assert (trained.epoch, trained.fusion_weights) == (4, None)
    assert all(torch.equal(v, trained.model.state_dict()[n]) for n, v in saved.state_dict().items())


def test_fusion_weights_come_in_the_order_of_the_domains(run):
    save_best(run, fusion_weights={"Tools": 1.0, "Books": 0.25, "Food": 0.5})
    assert run.trained_model(CPU).fusion_weights == (0.25, 0.5, 1.0)


def test_a_checkpoint_of_another_configuration_is_refused(run, tmp_path, tiny_dataset):
    save_best(run)
    wider = RunDirectory.create(tmp_path / "wider", small_config(model={"dim": 16}), tiny_dataset)
    shutil.copy(run.path / BEST_NAME, wider.path)
    with pytest.raises(CheckpointError, match=r"is saved as \(.*, 8\), expected \(.*, 16\)"):
        wider.trained_model(CPU)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{}", "its run.json names no kind"),
        ('{"kind": "dataset", "schema_version": 1}', "is of a dataset of version 1"),
    ],
)
def test_the_information_of_something_else_is_refused(tmp_path, content, told):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(ArtifactError, match=f"{told}, expected a run of .*; `syncrec train` makes one"):
        RunDirectory.open(tmp_path)
