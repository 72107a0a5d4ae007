"""However a run ends, the resumed one ends with the weights of a run that was never stopped, bit for bit."""

import os
import signal
import subprocess
import sys
from functools import partialmethod
from types import SimpleNamespace

import pytest
import torch

from syncrec import fitting
from syncrec.checkpoint import load_checkpoint
from syncrec.errors import ArtifactError, CheckpointError, ConfigError
from syncrec.pipeline import train
from syncrec.runs import BEST_NAME, LAST_NAME, LOG_NAME, REFIT_NAME, RunDirectory
from syncrec.training import loop
from syncrec.training.loop import Trainer
from syncrec.training.tracking import read_log

DEADLY_TRAINING = """
import os, signal, sys
from syncrec.pipeline import train
from syncrec.training.loop import Trainer

name, number, dataset, out, *settings = sys.argv[1:]
method, calls = getattr(Trainer, name), iter(range(10**6))

def deadly(self, *arguments):
    if next(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return method(self, *arguments)

setattr(Trainer, name, deadly)
train(dataset, out, settings=settings, show_progress=False)
"""


class CrashError(Exception):
    pass


def run(dataset, out, settings, **options):
    return train(dataset, out, settings=settings, show_progress=False, **options)


def signalled_while_validating(monkeypatch, times):
    """A signal comes while the last of `times` validations runs."""
    validate, calls = fitting.validate, []

    def disturbed(*arguments, **options):
        calls.append(arguments)
        if len(calls) == times:
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(*arguments, **options)

    monkeypatch.setattr(fitting, "validate", disturbed)


@pytest.mark.parametrize("refit", ["none", "validation"])
def test_a_signal_in_the_last_validation_is_heard(tiny_dataset_path, tmp_path, settings, monkeypatch, refit):
    settings = [*settings, "training.epochs=2", f"training.refit={refit}"]
    expected = run(tiny_dataset_path, tmp_path / "whole", settings)
    with monkeypatch.context() as patch:
        signalled_while_validating(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(tiny_dataset_path, tmp_path / "run", settings)
    assert not (tmp_path / "run" / REFIT_NAME).exists()
    assert not RunDirectory.open(tmp_path / "run").is_finished()
    found = run(tiny_dataset_path, tmp_path / "run", settings, resume=True)
    assert found.directory.is_finished()
    assert found.trained.fusion_weights == expected.trained.fusion_weights


def test_a_run_is_not_finished_before_its_fusion_weights_are(tiny_dataset_path, tmp_path, settings, monkeypatch):
    def gone(self):
        raise CrashError

    with monkeypatch.context() as patch:
        patch.setattr(fitting.TrainingSession, "_choose_fusion", gone)
        with pytest.raises(CrashError):
            run(tiny_dataset_path, tmp_path / "run", settings)
    assert load_checkpoint(tmp_path / "run" / LAST_NAME).state["is_finished"]
    assert not RunDirectory.open(tmp_path / "run").is_finished()
    assert run(tiny_dataset_path, tmp_path / "run", settings, resume=True).directory.is_finished()


def test_the_time_of_an_epoch_is_that_before_a_stop_too(tiny_dataset_path, tmp_path, settings, monkeypatch):
    step, now = Trainer._step, 0.0

    def one_second(self, *arguments, stop_at=None):
        nonlocal now
        now += 1
        if self.state.step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *arguments)

    clock = SimpleNamespace(perf_counter=lambda: now, process_time=lambda: now)
    monkeypatch.setattr(loop, "time", clock)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", partialmethod(one_second, stop_at=3))
        with pytest.raises(KeyboardInterrupt):
            run(tiny_dataset_path, tmp_path / "run", [*settings, "training.batch_size=10"])
    now += 1000  # what passes until somebody goes on is no time of training
    monkeypatch.setattr(Trainer, "_step", one_second)
    run(tiny_dataset_path, tmp_path / "run", (), resume=True)
    first, second = read_log(tmp_path / "run" / LOG_NAME)[:2]
    assert first["seconds"] == second["seconds"] == second["step"] - first["step"] > 3


def with_checkpoints(settings, every):
    return [*settings, f"training.checkpoint_every_steps={every}"]


@pytest.mark.parametrize(
    ("every", "call", "saved_step"),
    [(2, ("_step", 5), 4), (0, ("_step", 8), 6), (0, ("_save_last", 1), 6), (2, ("_step", 15), 14)],
    ids=["in the first epoch", "in the second epoch", "after a line of the log", "in the third epoch"],
)
def test_kill_9_and_resume_give_the_weights_of_a_run_never_stopped(
    every, call, saved_step, tiny_dataset_path, tmp_path, settings, undisturbed, outcome_of
):
    out = tmp_path / "run"
    arguments = [*call, tiny_dataset_path, out, *with_checkpoints(settings, every)]
    command = [sys.executable, "-c", DEADLY_TRAINING, *map(str, arguments)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert load_checkpoint(out / LAST_NAME).state["step"] == saved_step
    run(tiny_dataset_path, out, (), resume=True)
    outcome_of(out).assert_equals(undisturbed)


@pytest.mark.parametrize("crash_at", [1, 4, 5, 6, 9, 13])
def test_a_crash_in_any_step_and_resume(
    crash_at, tiny_dataset_path, tmp_path, settings, undisturbed, outcome_of, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", crashing(Trainer._step, crash_at))
        with pytest.raises(CrashError):
            run(tiny_dataset_path, tmp_path / "run", with_checkpoints(settings, 3))
    run(tiny_dataset_path, tmp_path / "run", (), resume=True)
    outcome_of(tmp_path / "run").assert_equals(undisturbed)


@pytest.mark.parametrize("crash_at", [0, 1, 3, 4])
def test_a_crash_between_log_line_and_checkpoint_and_resume(
    crash_at, tiny_dataset_path, tmp_path, settings, undisturbed, outcome_of, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_last", crashing(Trainer._save_last, crash_at))
        with pytest.raises(CrashError):
            run(tiny_dataset_path, tmp_path / "run", settings)
    run(tiny_dataset_path, tmp_path / "run", (), resume=True)
    outcome_of(tmp_path / "run").assert_equals(undisturbed)


def crashing(method, number):
    """`method`, raising at its call of that number."""
    calls = iter(range(10**6))

    def wrapper(self, *arguments):
        if next(calls) == number:
            raise CrashError
        return method(self, *arguments)

    return wrapper


def signalling(method, number, kind):
    """`method`, with a signal to this process in its call of that number."""
    calls = iter(range(10**6))

    def wrapper(self, *arguments):
        if next(calls) == number:
            os.kill(os.getpid(), kind)
        return method(self, *arguments)

    return wrapper


@pytest.mark.parametrize(("kind", "step"), [(signal.SIGTERM, 2), (signal.SIGINT, 7), (signal.SIGTERM, 4)], ids=str)
def test_a_signal_ends_training_after_the_step_and_resume_is_exact(
    kind, step, tiny_dataset_path, tmp_path, settings, undisturbed, outcome_of, monkeypatch
):
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", signalling(Trainer._step, step, kind))
        with pytest.raises(KeyboardInterrupt):
            run(tiny_dataset_path, out, settings)
    assert load_checkpoint(out / LAST_NAME).state["step"] == step + 1
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    run(tiny_dataset_path, out, (), resume=True)
    outcome_of(out).assert_equals(undisturbed)


@pytest.mark.parametrize("name", ["c2dsr", "cgrec"])
def test_graphs_contributions_and_draws_of_own_losses_are_the_same_after_a_crash(
    name, tiny_dataset_path, tmp_path, settings, outcome_of, monkeypatch
):
    chosen = [*settings, f"model.name={name}", "training.epochs=2"]
    run(tiny_dataset_path, tmp_path / "undisturbed", chosen)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", crashing(Trainer._step, 8))
        with pytest.raises(CrashError):
            run(tiny_dataset_path, tmp_path / "run", with_checkpoints(chosen, 3))
    run(tiny_dataset_path, tmp_path / "run", (), resume=True)
    outcome_of(tmp_path / "run").assert_equals(outcome_of(tmp_path / "undisturbed"))
    tensors = outcome_of(tmp_path / "run").last.tensors
    state = (
        tensors["model"]["cross_graph.neighbours"] + 1
        if name == "c2dsr"
        else tensors["objective"]["contributions.values"]
    )
    assert (state != 0).any()


def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_are_not(
    tiny_dataset_path, tmp_path, settings, undisturbed, outcome_of
):
    torch.manual_seed(123)
    run(tiny_dataset_path, tmp_path / "same", settings)
    outcome_of(tmp_path / "same").assert_equals(undisturbed)
    run(tiny_dataset_path, tmp_path / "other", [*settings, "training.seed=1", "training.epochs=1"])
    weights = [o.last.tensors["model"]["embedding.items.weight"] for o in (outcome_of(tmp_path / "other"), undisturbed)]
    assert not torch.equal(*weights)


def test_training_leaves_the_global_generator_alone(tiny_dataset_path, tmp_path, settings):
    before = torch.random.get_rng_state()
    run(tiny_dataset_path, tmp_path / "run", [*settings, "training.epochs=1"])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_finished_run_resumed_stays_as_it_is(tiny_dataset_path, tmp_path, settings, outcome_of):
    out = tmp_path / "run"
    run(tiny_dataset_path, out, [*settings, "training.epochs=2"])
    before = outcome_of(out)
    run(tiny_dataset_path, out, (), resume=True)
    outcome_of(out).assert_equals(before)


def test_a_run_is_not_begun_where_one_is(tiny_dataset_path, tmp_path, settings):
    out = tmp_path / "run"
    run(tiny_dataset_path, out, [*settings, "training.epochs=1"])
    with pytest.raises(ArtifactError, match="exists already; choose another --out"):
        run(tiny_dataset_path, out, settings)


@pytest.mark.parametrize(
    "bad", ["model.name=nothing", "training.device=gpu", "training.epochs=0"], ids=["model", "device", "epochs"]
)
def test_bad_settings_leave_no_directory(bad, tiny_dataset_path, tmp_path, settings):
    with pytest.raises(ConfigError):
        run(tiny_dataset_path, tmp_path / "run", [*settings, bad])
    assert not (tmp_path / "run").exists()


def test_resume_with_other_settings_is_refused(tiny_dataset_path, tmp_path, settings):
    out = tmp_path / "run"
    run(tiny_dataset_path, out, [*settings, "training.epochs=1"])
    with pytest.raises(ConfigError, match="with the settings it was begun with"):
        run(tiny_dataset_path, out, ["training.epochs=9"], resume=True)


@pytest.mark.parametrize("name", [LAST_NAME, BEST_NAME])
def test_a_damaged_checkpoint_is_refused_on_resume(name, tiny_dataset_path, tmp_path, settings):
    out = tmp_path / "run"
    run(tiny_dataset_path, out, [*settings, "training.epochs=1"])
    (out / name).write_bytes((out / name).read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=f"{name}: damaged checkpoint"):
        run(tiny_dataset_path, out, (), resume=True)
