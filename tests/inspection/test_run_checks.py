"""Runs that do not match their dataset, their settings or their results."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from jobs import TINY
from syncrec.checkpoint import load_checkpoint, save_checkpoint
from syncrec.inspection.run_checks import check_run
from syncrec.pipeline import train
from syncrec.runs import ANALYSIS_NAME, BEST_NAME, LOG_NAME, REFIT_NAME


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_dataset_path):
    """A run with a second fit, evaluated on both splits; and one without."""
    place = tmp_path_factory.mktemp("runs")
    settings = [*TINY, "training.epochs=3"]
    train(tiny_dataset_path, place / "plain", settings=settings, show_progress=False).evaluate()
    settings.append("training.refit=validation")
    run = train(tiny_dataset_path, place / "refit", settings=settings, show_progress=False)
    run.evaluate()
    run.evaluate("validation")
    return place


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of a run to damage."""
    return lambda name: Path(shutil.copytree(trained / name, tmp_path / name))


def outcome(path, dataset):
    """The names of the checks that found something, with what they say."""
    return {check.rule.name: check.detail for check in check_run(path, dataset) if check.has_fired}


def change_state(path, **state):
    checkpoint = load_checkpoint(path)
    save_checkpoint(path, checkpoint.tensors, {**checkpoint.state, **state})


def change_json(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("name", ["plain", "refit"])
def test_a_run_as_trained_is_fine(trained, tiny_dataset, name):
    assert outcome(trained / name, tiny_dataset) == {}


def test_a_run_of_another_dataset_is_not_looked_at_further(copied, tiny_dataset):
    path = copied("plain")
    change_json(path / "run.json", dataset_checksum="f" * 64)
    checks = list(check_run(path, tiny_dataset))
    assert [(check.rule.name, check.is_error) for check in checks] == [("run-dataset", True)]
    assert checks[0].detail.startswith("trained on ffffffffffff, this one is")


class TestFit:
    def test_an_epoch_that_is_not_the_best_on_validation(self, copied, tiny_dataset):
        path = copied("plain")
        best = load_checkpoint(path / BEST_NAME).state["epoch"]
        change_state(path / BEST_NAME, epoch=(best + 1) % 3)
        assert outcome(path, tiny_dataset) == {
            "run-fit": f"the checkpoint is of epoch {(best + 1) % 3 + 1}, the best on validation is {best + 1}"
        }

    def test_steps_of_more_users_than_there_are_to_train_on(self, copied, tiny_dataset):
        path = copied("plain")
        records = [json.loads(line) for line in (path / LOG_NAME).read_text().splitlines()]
        users = int(np.count_nonzero(np.asarray(tiny_dataset.train_end) > tiny_dataset.user_offsets[:-1]))
        assert records[-1]["step"] == 3 * -(-users // 16)
        longer = [{**record, "step": record["step"] + record["epoch"] + 1} for record in records]
        (path / LOG_NAME).write_text("".join(json.dumps(record) + "\n" for record in longer))
        assert "steps of the log are not those" in outcome(path, tiny_dataset)["run-fit"]

    def test_a_second_fit_that_was_not_asked_for(self, copied, tiny_dataset):
        path = copied("refit")
        config = (path / "config.toml").read_text()
        (path / "config.toml").write_text(config.replace('refit = "validation"', 'refit = "none"'))
        assert "there is a second fit, but training.refit is none" in outcome(path, tiny_dataset)["run-fit"]

    def test_a_second_fit_that_is_not_finished(self, copied, tiny_dataset):
        path = copied("refit")
        (path / REFIT_NAME / BEST_NAME).unlink()
        assert "not finished" in outcome(path, tiny_dataset)["run-fit"]

    def test_a_second_fit_with_fusion_weights_of_its_own(self, copied, tiny_dataset):
        path = copied("refit")
        state = load_checkpoint(path / REFIT_NAME / BEST_NAME).state
        weights = {domain: (weight + 0.5) % 1 for domain, weight in state["fusion_weights"].items()}
        change_state(path / REFIT_NAME / BEST_NAME, fusion_weights=weights)
        assert "other epochs or fusion weights" in outcome(path, tiny_dataset)["run-fit"]

    def test_a_second_fit_validated_on_what_it_learned_from(self, copied, tiny_dataset):
        path = copied("refit")
        (path / REFIT_NAME / LOG_NAME).write_text((path / LOG_NAME).read_text())
        assert "validated on what it learned from" in outcome(path, tiny_dataset)["run-fit"]


class TestResults:
    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            ({"dataset_checksum": "other"}, "is of another dataset"),
            ({"config": {}}, "is of other settings than config.toml"),
            (
                {
                    "split": "validation",
                    "users": ["u"],
                    "query_domains": [0],
                    "answers": {"cross": {"ranks": [1.0], "num_above": None}},
                },
                "has 1 queries, the validat",
            ),
            ({"fusion_weights": None}, "has other fusion weights than the checkpoint"),
            ({"kind": "letter"}, "is kind 'letter'"),
        ],
    )
    def test_a_result_that_is_not_this_run_s(self, copied, tiny_dataset, change, fault):
        path = copied("plain")
        change_json(path / "results" / "test-full.json", **change)
        found = outcome(path, tiny_dataset)
        assert list(found) == ["run-results"]
        assert fault in found["run-results"]

    def test_what_a_transfer_report_leaves_there_is_no_result(self, copied, tiny_dataset):
        path = copied("plain")
        (path / "results" / ANALYSIS_NAME).write_text('{"kind": "transfer-analysis"}')
        assert outcome(path, tiny_dataset) == {}

    def test_a_result_from_before_there_was_some_setting_is_fine(self, copied, tiny_dataset):
        path = copied("plain")
        config = json.loads((path / "results" / "test-full.json").read_text())["config"]
        del config["training"]["refit"]
        change_json(path / "results" / "test-full.json", config=config)
        assert outcome(path, tiny_dataset) == {}

    def test_a_result_with_another_value_of_one_setting(self, copied, tiny_dataset):
        path = copied("plain")
        config = json.loads((path / "results" / "test-full.json").read_text())["config"]
        config["training"]["seed"] += 1
        change_json(path / "results" / "test-full.json", config=config)
        assert "is of other settings" in outcome(path, tiny_dataset)["run-results"]
