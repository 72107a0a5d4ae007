"""A search shared by real processes: the budget is kept, and who is killed is replaced."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from syncrec import artifacts
from syncrec.errors import ArtifactError
from syncrec.experiments.plan import Plan
from syncrec.experiments.search import JOURNAL_NAME, EarlierTrial, SharedSearch

PLAN = {
    "datasets": {"d": {"dataset": "somewhere"}},
    "models": {"sasrec": {}},
    "tuning": {
        "trials": 9,
        "space": {"training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "model.dim": [16, 64]},
    },
}
FIRST = {"training.learning_rate": 1e-3, "model.dim": 64}

WORKER = """
import json, subprocess, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_search import search_in
search = search_in(Path({place!r}))
while taken := search.take():
    if taken is True:
        time.sleep(0.01)
        continue
    print(json.dumps([taken.number, taken.values]), flush=True)
    {work}
    search.finish(taken, taken.values["training.learning_rate"])
"""
HANG = "time.sleep(600)"
HANG_WITH_A_CHILD = (
    "child = subprocess.Popen(['sleep', '600'], pass_fds=(taken.claim.fileno(),), stdout=2); "
    "print(child.pid, flush=True); time.sleep(600)"
)


def search_in(place, earlier=()):
    return SharedSearch(Plan.model_validate(PLAN), "sasrec", place, lambda: list(earlier))


@pytest.fixture
def worker(tmp_path):
    """Starts a process that takes trials from the search in `tmp_path` and works on each; all are killed at the end."""
    started = []

    def start(work):
        code = WORKER.format(tests=str(Path(__file__).parent), place=str(tmp_path), work=work)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def take_all(search, value_of):
    """Every trial that there is, one after another: [(number, values)]."""
    found = []
    while (taken := search.take()) is not False:
        if taken is True:
            time.sleep(0.02)
            continue
        found.append((taken.number, taken.values))
        search.finish(taken, value_of(taken.values))
    return found


def rate(values):
    return values["training.learning_rate"]


def test_processes_share_the_budget_and_every_trial_is_kept(worker, tmp_path):
    outputs = [process.communicate(timeout=150)[0] for process in [worker("time.sleep(0.05)") for _ in range(2)]]
    trials = sorted(
        (json.loads(line) for output in outputs for line in output.splitlines()), key=lambda trial: trial[0]
    )
    assert [number for number, _ in trials] == list(range(9))
    assert len({rate(values) for _, values in trials}) == 9
    search = search_in(tmp_path)
    assert search.take() is False
    kept = search.result()
    assert [values for values, _ in kept.trials] == [values for _, values in trials]
    assert [value for _, value in kept.trials] == [rate(values) for _, values in trials]
    assert kept.trials[0][0] == FIRST
    assert kept.chosen == max(trials, key=lambda trial: rate(trial[1]))[1]


def test_the_trial_of_a_killed_worker_is_given_out_again_with_its_settings(worker, tmp_path):
    process = worker(HANG)
    number, values = json.loads(process.stdout.readline())
    search = search_in(tmp_path)
    beside = search.take()
    assert (number, beside.number) == (0, 1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = search.take()
    assert (again.number, again.values) == (number, values)
    search.finish(again, 1.0)
    search.finish(beside, 2.0)
    rest = take_all(search, rate)
    assert [number for number, _ in rest] == list(range(2, 9))
    assert len(search.result().trials) == 9


def test_a_training_that_outlives_its_worker_keeps_the_trial(worker, tmp_path):
    process = worker(HANG_WITH_A_CHILD)
    number, _ = json.loads(process.stdout.readline())
    child = int(process.stdout.readline())
    search = search_in(tmp_path)
    try:
        process.kill()
        process.wait()
        assert take_all_but_waiting(search) == list(range(number + 1, 9))
    finally:
        os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (taken := search.take()) is True:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert taken.number == number


def test_a_worker_killed_before_it_drew_settings_leaves_a_whole_trial(tmp_path):
    search = search_in(tmp_path)
    search.finish(search.take(), 0.5)
    search._study.ask()  # and nothing more: as if killed here
    taken = search_in(tmp_path).take()
    assert taken.number == 1
    assert taken.values.keys() == FIRST.keys()


def test_a_trial_that_is_running_makes_the_others_wait_and_not_stop(tmp_path):
    search, other = search_in(tmp_path), search_in(tmp_path)
    held = search.take()
    assert len(take_all_but_waiting(other)) == 8
    assert other.take() is True
    search.finish(held, 1.0)
    assert other.take() is False


def take_all_but_waiting(search):
    found = []
    while not isinstance(taken := search.take(), bool):
        search.finish(taken, 0.0)
        found.append(taken.number)
    return found


def test_failed_trials_count_and_are_never_chosen(tmp_path):
    search = search_in(tmp_path)
    take_all(search, lambda values: None if values == FIRST else rate(values))
    found = search.result()
    assert len(found.trials) == 9
    assert found.trials[0] == (FIRST, None)
    assert found.chosen != FIRST


def test_one_worker_finds_the_same_settings_every_time(tmp_path):
    assert take_all(search_in(tmp_path / "a"), rate) == take_all(search_in(tmp_path / "b"), rate)


def test_trials_of_one_worker_are_taken_over_with_their_values(tmp_path):
    other = {"training.learning_rate": 2e-2, "model.dim": 16}
    failed = {"training.learning_rate": 3e-2, "model.dim": 16}
    unfinished = {"training.learning_rate": 4e-2, "model.dim": 64}
    earlier = [
        EarlierTrial(FIRST, 0.25, True),
        EarlierTrial(other, 0.5, True),
        EarlierTrial(failed, None, True),
        EarlierTrial(unfinished, None, False),
    ]
    search = search_in(tmp_path, earlier)
    trials = take_all(search, rate)
    assert trials[0] == (3, unfinished)
    assert [number for number, _ in trials] == list(range(3, 9))
    assert search.result().trials[:4] == [(FIRST, 0.25), (other, 0.5), (failed, None), (unfinished, 4e-2)]


def test_a_worker_killed_while_it_held_the_journal_blocks_nobody(worker, tmp_path):
    search = search_in(tmp_path)
    search.finish(search.take(), 0.5)
    process = worker("search._study._storage._backend._lock.acquire(); print('held', flush=True); time.sleep(600)")
    process.stdout.readline()
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    begun = time.monotonic()
    taken = search.take()
    search.finish(taken, 0.5)
    assert taken.number == 1
    assert time.monotonic() - begun < 25  # Optuna's own lock would stay for 30


def test_half_a_line_of_a_killed_writer_or_a_full_disk_costs_no_trial(tmp_path):
    search = search_in(tmp_path)
    search.finish(search.take(), 0.5)
    with (tmp_path / JOURNAL_NAME).open("ab") as journal:
        journal.write(b'{"op_code": 4, "worker')
    search.finish(search.take(), 0.25)
    again = search_in(tmp_path)
    again.finish(again.take(), 0.75)
    assert [value for _, value in again.result().trials] == [0.5, 0.25, 0.75]


def test_a_full_disk_is_told_with_the_file(tmp_path, monkeypatch):
    search = search_in(tmp_path)
    taken = search.take()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        monkeypatch.context() as patch,
        pytest.raises(ArtifactError, match=r"journal.log: cannot be written: No sp"),
    ):
        patch.setattr(search._study, "tell", full)
        search.finish(taken, 0.5)
    assert search.take().number == taken.number, "it is given out again"


def test_a_damaged_journal_is_one_line(tmp_path):
    search = search_in(tmp_path)
    search.finish(search.take(), 0.5)
    lines = (tmp_path / JOURNAL_NAME).read_bytes().splitlines()
    (tmp_path / JOURNAL_NAME).write_bytes(b"\n".join([lines[0], lines[1][:-5], *lines[2:], b""]))
    with pytest.raises(ArtifactError, match=r"journal.log: is damaged .* remove .* to search anew"):
        search_in(tmp_path).take()


def test_a_training_that_is_killed_is_begun_once_more_and_then_given_up(tmp_path):
    search = search_in(tmp_path)
    first = search.take()
    search.let_go(first)
    second = search.take()
    assert (second.number, second.values) == (first.number, first.values)
    assert search.given_up == []
    search.let_go(second)
    assert search.given_up == [first.number]
    trials = take_all(search, rate)
    assert [number for number, _ in trials] == list(range(1, 9)), "the others are still tried"
    later = search_in(tmp_path)
    assert later.take().number == first.number, "another call tries it again"


def test_a_search_of_one_worker_is_not_shared(tmp_path):
    with artifacts.exclusive(tmp_path):
        assert search_in(tmp_path).take() is True


def test_a_claim_is_one_persons_until_it_is_closed(tmp_path):
    first = artifacts.claim(tmp_path / "a" / "x.lock")
    assert artifacts.claim(tmp_path / "a" / "x.lock") is None
    first.close()
    assert artifacts.claim(tmp_path / "a" / "x.lock") is not None
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.lock"]
