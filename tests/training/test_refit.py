"""`training.refit = validation`: what is chosen on validation is then trained on the validation events too."""

import numpy as np
import pytest
import torch

from syncrec.checkpoint import load_checkpoint
from syncrec.errors import CheckpointError
from syncrec.pipeline import open_run, train
from syncrec.runs import BEST_NAME, LOG_NAME, REFIT_NAME
from syncrec.training.loop import Trainer
from syncrec.training.tracking import read_log

REFIT = "training.refit=validation"


@pytest.fixture(scope="module")
def plain(tiny_dataset_path, tmp_path_factory, settings):
    return train(tiny_dataset_path, tmp_path_factory.mktemp("plain") / "run", settings=settings, show_progress=False)


@pytest.fixture(scope="module")
def refitted(tiny_dataset_path, tmp_path_factory, settings):
    out = tmp_path_factory.mktemp("refit") / "run"
    return train(tiny_dataset_path, out, settings=[*settings, REFIT], show_progress=False)


def weights(checkpoint):
    return load_checkpoint(checkpoint).tensors["model"]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_choice_is_that_of_a_run_without_it(plain, refitted):
    assert same(weights(plain.path / BEST_NAME), weights(refitted.path / BEST_NAME))
    chosen, final = (load_checkpoint(p / BEST_NAME).state for p in (refitted.path, refitted.path / REFIT_NAME))
    assert final == chosen == load_checkpoint(plain.path / BEST_NAME).state


def test_the_second_fit_is_as_long_as_the_first_was_to_its_best_epoch(refitted):
    records = read_log(refitted.path / REFIT_NAME / LOG_NAME)
    assert [record["epoch"] for record in records] == list(range(refitted.trained.epoch + 1))
    assert all("validation" not in record for record in records)
    rates = [record["learning_rate"] for record in read_log(refitted.path / LOG_NAME)]
    # a few users more have something to train on, so that an epoch may have a step more
    assert [record["learning_rate"] for record in records] == pytest.approx(rates[: len(records)], rel=0.1)


def test_it_trains_on_validation_events_and_on_no_test_event(refitted, tiny_dataset, monkeypatch):
    asked = []
    step = Trainer._step
    monkeypatch.setattr(
        Trainer, "_step", lambda self, packed, total: (asked.append(packed), step(self, packed, total))[1]
    )
    out = refitted.path.parent / "again"
    train(tiny_dataset, out, config=refitted.config, show_progress=False)
    epochs = refitted.trained.epoch + 1
    starts = np.asarray(tiny_dataset.user_offsets)[:-1]
    first = refitted.config.training.epochs * cut_lengths(tiny_dataset.train_end - starts)
    assert sum(len(packed.targets) for packed in asked) == first + epochs * cut_lengths(
        tiny_dataset.validation_end - starts
    )


def cut_lengths(lengths):
    """Targets of an epoch: of each user the last T + 1 events, T = 6."""
    return int(np.minimum(lengths, 7).sum())


def test_test_answers_come_from_the_second_fit_and_validation_answers_from_the_first(plain, refitted):
    for split, is_equal in (("validation", True), ("test", False)):
        ranks = [run.evaluate(split).answers["cross"].ranks.tolist() for run in (plain, refitted)]
        assert (ranks[0] == ranks[1]) is is_equal, split
    assert same(dict(refitted.trained.model.state_dict()), weights(refitted.path / REFIT_NAME / BEST_NAME))


@pytest.mark.parametrize("at_step", [2, 5], ids=["in the first fit", "in the second fit"])
def test_a_crash_in_either_fit_and_resume_give_the_same_weights(
    at_step, refitted, tiny_dataset_path, tmp_path, settings, monkeypatch
):
    out, steps = tmp_path / "run", iter(range(10**6))
    step, per_epoch = Trainer._step, 6
    number = at_step if at_step == 2 else refitted.config.training.epochs * per_epoch + 2

    def crashing(self, *arguments):
        if next(steps) == number:
            raise RuntimeError
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", crashing)
        with pytest.raises(RuntimeError):
            train(tiny_dataset_path, out, settings=[*settings, REFIT], show_progress=False)
    assert (out / REFIT_NAME).exists() == (at_step != 2)
    if at_step != 2:
        with pytest.raises(CheckpointError, match=r"the second fit \(training.refit\) is not finished; go on with"):
            open_run(out, tiny_dataset_path).evaluate("test")
        answers = [run.evaluate("validation").answers for run in (open_run(out, tiny_dataset_path), refitted)]
        assert all(np.array_equal(answers[0][name].ranks, answers[1][name].ranks) for name in answers[1])
    train(tiny_dataset_path, out, resume=True, show_progress=False)
    assert same(weights(out / REFIT_NAME / BEST_NAME), weights(refitted.path / REFIT_NAME / BEST_NAME))


def test_a_finished_run_resumed_stays_as_it_is(refitted, tiny_dataset_path):
    before = weights(refitted.path / REFIT_NAME / BEST_NAME)
    assert train(tiny_dataset_path, refitted.path, resume=True, show_progress=False).directory.is_finished()
    assert same(weights(refitted.path / REFIT_NAME / BEST_NAME), before)
