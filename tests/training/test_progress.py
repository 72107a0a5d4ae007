import io
import sys

import pytest

from syncrec.training.progress import TrainingProgress

RECORD = {"epoch": 0, "seconds": 2.0, "targets_per_second": 1234.0, "loss": {"total": 7.125}}
BEST = {**RECORD, "best": {"value": 0.5, "epoch": 0}}
NO_VALIDATION_YET = {**RECORD, "best": {"value": None, "epoch": -1}}


def test_it_is_quiet_where_there_is_no_terminal(make_session, capfd):
    session = make_session(values=[0.5, 0.25], epochs=2)
    session.trainer.train(session.batches, session.steps_per_epoch, session.validate, [], show_progress=True)
    assert capfd.readouterr() == ("", "")


def test_one_line_an_epoch_where_there_is_no_terminal_if_asked_for(make_session, capfd):
    session = make_session(values=[0.5, 0.25], epochs=2)
    session.trainer.train(session.batches, session.steps_per_epoch, session.validate, [], show_progress="lines")
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.partition(":")[0] for line in err.splitlines()] == ["epoch 1/2", "epoch 2/2"]
    assert all("best mrr 0.5000" in line for line in err.splitlines())
    assert "\x1b" not in err


def test_it_is_silent_if_not_wanted(make_session, capfd):
    make_session(epochs=1).train()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_epoch_losses_and_best_in_lines_that_fit(columns, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress = TrainingProgress(3, 10)
    with progress:
        progress.step(0, 5, {"cross": 1.25}, 1234.0)
        progress.validated(BEST, "mrr")
    shown = sys.stderr.getvalue()
    assert "epoch 1/3" in shown
    assert "cross 1.25" in shown
    assert "mrr 0.5000" in shown


@pytest.mark.parametrize("is_terminal", [False, True])
def test_an_epoch_before_the_first_validation_is_no_fault(is_terminal, monkeypatch):
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    TrainingProgress(3, 10).validated(NO_VALIDATION_YET, "mrr")
