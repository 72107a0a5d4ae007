"""A grid carried out by real processes: what is made, what is kept, and what happens when it is stopped."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch

from syncrec.artifacts import MANIFEST_NAME, exclusive, write_json, write_text
from syncrec.baselines import BASELINES
from syncrec.config import PrepareConfig, dump_toml, load_config
from syncrec.errors import ArtifactError, ConfigError
from syncrec.evaluation import load_result, result_path
from syncrec.experiments.jobs import Job, Outcome, run_queue
from syncrec.experiments.places import Places
from syncrec.experiments.plan import Cell, DatasetEntry, load_plan
from syncrec.experiments.runner import Experiment
from syncrec.experiments.search import JOURNAL_NAME
from syncrec.experiments.summary import write_summary
from syncrec.pipeline import prepare
from syncrec.runs import RunDirectory


def given(*jobs):
    """What `run_queue` takes: these jobs, and then no more."""
    waiting = iter(jobs)
    return lambda: next(waiting, False)


def test_every_cell_has_a_run_and_a_result_and_its_settings(experiment):
    results = experiment.results("small", "full")
    assert {label: len(found) for label, found in results.items()} == {
        "syncrec": 2,
        "alone": 2,
        "uncorrected": 2,
        "popularity": 1,
        "item-knn": 1,
        "bpr-mf": 1,
    }
    assert [result.provenance.seed for result in results["syncrec"]] == [0, 1]
    assert results["uncorrected"][0].provenance.config["transfer"]["correction"] is False
    assert experiment.num_parameters("small", "syncrec") > experiment.num_parameters("small", "alone")
    model = RunDirectory.open(experiment.out / "runs/small/syncrec/seed-0").trained_model(torch.device("cpu")).model
    assert experiment.num_parameters("small", "syncrec") == sum(part.numel() for part in model.parameters())
    assert len(experiment.cpu_seconds("small", "alone")) == 2


def test_tuning_spends_its_budget_and_an_ablation_takes_what_was_chosen(experiment):
    content = json.loads((experiment.out / "tuning/small/syncrec/chosen.json").read_text())
    best = max(content["trials"], key=lambda trial: trial["value"])
    assert content["chosen"] == best["settings"]
    assert len(content["trials"]) == 2
    assert load_config(experiment.out / "tuning/small/syncrec/trial-000/config.toml").training.epochs == 1
    assert experiment.chosen("small", "uncorrected") == content["chosen"]
    assert experiment.chosen("small", "alone") == {}
    config = load_config(experiment.out / "runs/small/uncorrected/seed-1/config.toml")
    assert config.training.learning_rate == content["chosen"]["training.learning_rate"]
    assert config.training.epochs == 2


def test_progress_says_how_far_it_is_and_how_long_the_rest_takes(experiment):
    lines = [line for line in experiment.lines if line.startswith("train [")]
    assert [line.split("]")[0] for line in lines] == [f"train [{n}/9" for n in range(1, 10)]
    assert all("about" in line for line in lines[:-1])
    assert "left" not in lines[-1]


def test_a_second_call_finds_everything_done(experiment):
    lines = []
    before = {path: path.stat().st_mtime_ns for path in experiment.out.rglob("*") if path.is_file()}
    assert replace(experiment, report=lines.append).run() == []
    assert lines == []
    assert before == {path: path.stat().st_mtime_ns for path in experiment.out.rglob("*") if path.is_file()}


def test_other_settings_in_the_same_directory_are_refused(experiment):
    changed = experiment.plan.model_copy(update={"settings": {**experiment.plan.settings, "model.dim": 32}})
    with pytest.raises(ConfigError, match="was made with other settings than the plan has now"):
        replace(experiment, plan=changed).run()


def test_models_without_a_run_are_made_anew_for_a_second_fit_or_refused(experiment, tmp_path):
    """They know validation events where the others do."""
    again = {**experiment.plan.settings, "training.refit": "validation"}
    memory = {label: entry for label, entry in experiment.plan.models.items() if label in BASELINES}
    changed = changed_plan(experiment, settings=again, models=memory, twin=None)
    with pytest.raises(ConfigError, match="was made with other settings than the plan has now; choose another --out"):
        changed.run()
    changed = replace(changed, out=tmp_path / "out")
    assert changed.run() == []
    for label in BASELINES:
        before, after = (e.results("small", "full")[label][0] for e in (experiment, changed))
        assert (before.provenance.config["refit"], after.provenance.config["refit"]) == ("none", "validation")
        name = next(iter(after.answers))
        assert not np.array_equal(before.answers[name].ranks, after.answers[name].ranks)


def test_a_baseline_under_another_name_or_made_otherwise_is_refused(experiment, monkeypatch):
    entry = experiment.plan.models["popularity"]
    renamed = {**experiment.plan.models, "popularity": entry.model_copy(update={"name": "item-knn"})}
    with pytest.raises(ConfigError, match=r"popularity/results/test-full.json: was made with other settings"):
        changed_plan(experiment, models=renamed)._baseline_job("small", "popularity")
    monkeypatch.setattr("syncrec.baselines._SETTINGS", {"item-knn": {"num_neighbours": 3}})
    with pytest.raises(ConfigError, match=r"item-knn/results/test-full.json: was made with other settings"):
        experiment._baseline_job("small", "item-knn")


def test_a_baseline_is_asked_only_for_the_protocols_that_are_missing(experiment):
    more = changed_plan(experiment, protocols=["full", "sampled-100"])
    (command,) = more._baseline_job("small", "bpr-mf").commands
    assert [word for word in command if word in ("full", "sampled-100")] == ["sampled-100"]


def test_what_tuning_chose_counts_only_where_the_plan_tunes(experiment):
    without = changed_plan(experiment, tuning=experiment.plan.tuning.model_copy(update={"trials": 0}))
    assert (without.chosen("small", "syncrec"), without.chosen("small", "uncorrected")) == ({}, {})
    assert experiment.chosen("small", "uncorrected") == experiment.chosen("small", "syncrec") != {}


def test_a_search_made_before_there_was_a_setting_is_still_an_answer(experiment, tmp_path):
    place = tmp_path / "out/tuning/small/syncrec"
    shutil.copytree(experiment.places.tuning("small", "syncrec"), place)
    content = json.loads((place / "chosen.json").read_text())
    del content["config"]["loss"]["mean_over"]
    (place / "chosen.json").write_text(json.dumps(content))
    assert replace(experiment, out=tmp_path / "out")._tune("small", "syncrec") is None
    loss = content["config"]["loss"]
    for other in ({**loss, "mean_over": "users"}, {**loss, "of a later version": 1}, {"kind": loss["kind"]}):
        content["config"]["loss"] = other
        (place / "chosen.json").write_text(json.dumps(content))
        with pytest.raises(ConfigError, match="syncrec: was made with other settings than the plan has now"):
            replace(experiment, out=tmp_path / "out")._tune("small", "syncrec")


def test_a_search_is_not_gone_on_with_under_another_plan(experiment, tmp_path):
    place = tmp_path / "out/tuning/small/syncrec"
    shutil.copytree(experiment.places.tuning("small", "syncrec"), place)
    (place / "chosen.json").unlink()
    changed = changed_plan(experiment, settings={**experiment.plan.settings, "model.dim": 32})
    with pytest.raises(ConfigError, match="syncrec: was made with other settings than the plan has now"):
        replace(changed, out=tmp_path / "out")._tune("small", "syncrec")


def test_a_result_of_a_run_that_is_still_in_training_does_not_count(experiment, tmp_path):
    """Somebody may evaluate it by hand; the answer is of the best epoch by then."""
    cell, out = Cell("small", "alone", 0), tmp_path / "out"
    shutil.copytree(experiment.out, out)
    copy = replace(experiment, out=out)
    assert copy._job(cell) is None
    state = out / "runs/small/alone/seed-0/last.safetensors"
    state.unlink()
    assert not RunDirectory.open(out / "runs/small/alone/seed-0").is_finished()
    assert [command[0] for command in copy._job(cell).commands] == ["train", "evaluate"]
    assert [r.provenance.seed for r in copy.results("small", "full")["alone"]] == [1]


def test_a_trial_that_cannot_be_tried_keeps_its_number(plan_path, tmp_path):
    """A search of an earlier version, where the second of three trials made no configuration, is gone on with."""
    plan = load_plan(plan_path)
    space = {"model.num_cross_experts": [1, 7]}
    tuning = plan.tuning.model_copy(update={"space": space, "trials": 3})
    experiment = Experiment(plan.model_copy(update={"tuning": tuning}), tmp_path / "out", 1, lambda _: None)
    for number, value in enumerate([1, 7, 1]):
        values = {"model.num_cross_experts": value}
        config = experiment._possible_config("syncrec", values)
        place = experiment.places.trial("small", "syncrec", number)
        if config is None:
            write_json(place.with_suffix(".json"), values)
        else:
            write_text(place.with_suffix(".toml"), dump_toml(config))
    earlier = experiment._earlier_trials("small", "syncrec")
    assert [trial.values["model.num_cross_experts"] for trial in earlier] == [1, 7, 1]
    assert [trial.is_finished for trial in earlier] == [True, True, False]


def test_a_process_that_is_killed_is_not_told_by_what_was_printed_before(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("an older line\n")
    code = "import os, signal, sys; print('reading', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    faults = []
    with patch("syncrec.experiments.jobs._PREFIX", [sys.executable, "-c", code]):
        run_queue(
            given(Job("killed", [[]], log)), 1, lambda outcome: faults.append((outcome.fault, outcome.was_killed))
        )
    assert faults == [("killed by signal 9 after 'reading'", True)]
    assert log.read_text() == "an older line\nreading\n"


def changed_plan(experiment, **sections):
    return replace(experiment, plan=experiment.plan.model_copy(update=sections))


def test_what_was_made_otherwise_than_the_plan_now_says_is_refused(experiment, tmp_path):
    entry = experiment.plan.datasets["small"]
    other = changed_plan(
        experiment, datasets={"small": entry.model_copy(update={"prepare": PrepareConfig(max_history=3)})}
    )
    with pytest.raises(ConfigError, match="was prepared with other max_history than the plan has now"):
        other.run()
    more = changed_plan(experiment, tuning=experiment.plan.tuning.model_copy(update={"trials": 3}))
    with pytest.raises(ConfigError, match="syncrec: was made with other settings than the plan has now"):
        more.run()
    prepare(entry.log, out=tmp_path / "short", max_history=3)
    moved = changed_plan(experiment, datasets={"small": DatasetEntry(dataset=tmp_path / "short")})
    for action in (moved.run, partial(moved.results, "small", "full")):
        with pytest.raises(ConfigError, match="is of another dataset than small is now; choose another --out"):
            action()


def test_a_result_in_the_place_of_another_is_refused(experiment, tmp_path):
    copied = replace(experiment, out=Path(shutil.copytree(experiment.out, tmp_path / "copied")))
    first, second = (
        result_path(copied.places.run(Cell("small", "syncrec", seed)), "test", "full") for seed in copied.plan.seeds[:2]
    )
    shutil.copy(first, second)
    with pytest.raises(ConfigError, match=r"is of syncrec, seed 0; this is the place of seed 1 of syncrec; remove it"):
        copied.results("small", "full")


def test_a_log_that_changed_since_is_told(experiment, tmp_path):
    log, told = experiment.plan.datasets["small"].log, []
    copied = Path(shutil.copytree(experiment.out, tmp_path / "copied"))
    again = replace(experiment, out=copied, report=told.append)
    again._prepare("small")
    assert told == []
    os.utime(again.dataset_path("small") / MANIFEST_NAME, (0, 0))
    again._prepare("small")
    assert told == [f"{log}: changed since small was prepared of it; it is read again in another --out alone"]


def test_a_trained_run_is_no_place_for_an_experiment(experiment):
    run = experiment.places.run(Cell("small", "syncrec", experiment.plan.seeds[0]))
    with pytest.raises(ConfigError, match="is a trained run, no directory of an experiment; choose another --out"):
        replace(experiment, out=run).run()


def test_a_search_without_a_finished_trial_is_a_fault_and_its_runs_wait(plan_path, tmp_path):
    plan = load_plan(plan_path)
    hopeless = plan.tuning.model_copy(update={"space": {"model.num_cross_experts": [7, 8]}})
    plan = plan.model_copy(update={"tuning": hopeless, "seeds": [0], "models": {"syncrec": plan.models["syncrec"]}})
    lines = []
    (fault,) = Experiment(plan, tmp_path / "out", 1, lines.append).run()
    assert "tuning of small syncrec: none of 2 trials ended" in fault
    assert any("cannot be tried" in line for line in lines)
    assert not (tmp_path / "out" / "runs").exists()
    assert not list((tmp_path / "out" / "tuning").rglob("chosen.json"))


def test_a_trial_that_fails_after_an_epoch_counts_for_nothing(plan_path, tmp_path, monkeypatch):
    def failing(self, job):
        done = subprocess.run([sys.executable, "-m", "syncrec", *job.commands[0]], check=True, capture_output=True)
        return Outcome(job, 0.0, "FAILED: no memory" if "trial" in job.name else f"{done.returncode}")

    monkeypatch.setattr("syncrec.experiments.jobs._Workers._work", failing)
    plan = load_plan(plan_path)
    plan = plan.model_copy(update={"models": {"syncrec": plan.models["syncrec"]}, "seeds": [0]})
    (fault,) = Experiment(plan, tmp_path / "out", 1, lambda _: None).run()
    assert "none of 2 trials ended" in fault
    assert len(list((tmp_path / "out").rglob("trial-*/best.safetensors"))) == 2


def test_a_trial_that_failed_is_not_tried_again(plan_path, tmp_path, monkeypatch):
    tried = []

    def failing(_, job):
        tried.append(job.name)
        return Outcome(job, 0.0, "no memory")

    monkeypatch.setattr("syncrec.experiments.jobs._Workers._work", failing)
    plan = load_plan(plan_path)
    plan = plan.model_copy(update={"models": {"syncrec": plan.models["syncrec"]}, "seeds": [0]})
    faults = [Experiment(plan, tmp_path / "out", 1, lambda _: None).run() for _ in range(2)]
    assert tried == ["small syncrec trial 1 of 2", "small syncrec trial 2 of 2"]
    assert faults[0] == faults[1]
    assert len(faults[0]) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_a_training_that_is_killed_says_nothing_of_its_settings(plan_path, tmp_path, monkeypatch, times):
    tried, lines = [], []

    def killed(_, job):
        tried.append(job.name)
        is_killed = tried.count("small syncrec trial 1 of 2") <= times and "trial 1" in job.name
        return Outcome(job, 0.0, "killed by signal 9" if is_killed else "no memory", is_killed)

    monkeypatch.setattr("syncrec.experiments.jobs._Workers._work", killed)
    plan = load_plan(plan_path)
    plan = plan.model_copy(update={"models": {"syncrec": plan.models["syncrec"]}, "seeds": [0]})
    (fault,) = Experiment(plan, tmp_path / "out", 1, lines.append).run()
    assert tried == ["small syncrec trial 1 of 2"] * 2 + ["small syncrec trial 2 of 2"]
    if times == 2:
        assert "trial 1 was killed each time it was begun" in fault
        assert not list((tmp_path / "out").rglob("chosen.json"))
        Experiment(plan, tmp_path / "out", 1, lines.append).run()
        assert tried[3:] == ["small syncrec trial 1 of 2"], "it was not spent"
    else:
        assert "none of 2 trials ended" in fault


def test_a_run_that_outlived_its_experiment_is_waited_for(experiment, tmp_path):
    shutil.copytree(experiment.out, tmp_path / "out")
    lines, cell = [], Cell("small", "alone", 0)
    again = replace(experiment, out=tmp_path / "out", report=lines.append)
    result_path(again.places.run(cell), "test", "full").unlink()
    stack = contextlib.ExitStack()
    stack.enter_context(exclusive(again.places.run(cell)))
    release = threading.Timer(1.5, stack.close)
    release.start()
    assert again.run() == []
    assert lines[0] == "train: waiting for processes that were begun before and are still at work"
    assert len([line for line in lines if "waiting" in line]) == 1
    assert result_path(again.places.run(cell), "test", "full").exists()


def test_a_dataset_that_is_gone_is_not_waited_for(experiment, tmp_path):
    entry = DatasetEntry(dataset=tmp_path / "nowhere")
    gone = replace(changed_plan(experiment, datasets={"small": entry}), out=tmp_path / "out")
    with pytest.raises(ArtifactError, match="nowhere: is gone; put it back"):
        gone.run()


def test_who_joined_does_the_rest_of_a_process_that_has_ended(experiment, tmp_path, monkeypatch):
    shutil.copytree(experiment.out, tmp_path / "out")
    lines, leads = [], [False, True]
    joined = replace(experiment, out=tmp_path / "out", joins=True, report=lines.append)
    result_path(joined.places.run(Cell("small", "alone", 0)), "test", "full").unlink()
    monkeypatch.setattr(Experiment, "_lead", lambda *_: leads.pop(0))
    assert joined.run() == []
    assert joined.is_leader
    assert result_path(joined.places.run(Cell("small", "alone", 0)), "test", "full").exists()


def test_no_two_jobs_print_into_one_file():
    places = Places(Path("out"))
    assert places.log("food", "kitchen-sasrec", "seed-0") != places.log("food-kitchen", "sasrec", "seed-0")


def test_a_place_that_cannot_be_written_is_not_another_process(experiment, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"):
        replace(experiment, out=tmp_path / "file", joins=True).run()


def test_who_joins_does_not_wait_for_a_process_that_is_gone(experiment, tmp_path):
    joined = replace(experiment, out=tmp_path / "empty", joins=True)
    joined.is_leader = False
    with pytest.raises(ArtifactError, match="ended before it was prepared; give the same command again"):
        joined._tune_all()


def test_the_summary_holds_the_numbers_of_the_result_files(experiment, tmp_path):
    content = write_summary(experiment, tmp_path / "results.md")
    (section,) = content["sections"]
    for seed in (0, 1):
        result = load_result(experiment.out / f"runs/small/syncrec/seed-{seed}/results/test-full.json")
        summary = result.summary("fused")
        for metric in ("hr@10", "ndcg@10", "mrr"):
            shown = section["metrics"]["syncrec fused"][metric]
            assert shown["books"][seed] == summary.domains["books"][metric]
            assert shown["mean of domains"][seed] == summary.macro[metric]
    kinds = [comparison["kind"] for comparison in section["comparisons"]]
    assert kinds == ["single-domain twin", "best baseline"]
    twin = section["comparisons"][0]
    assert (twin["candidate"], twin["baseline"], twin["num_seeds"]) == ("syncrec fused", "alone", 2)
    values = section["metrics"]["syncrec fused"]["ndcg@10"]["mean of domains"]
    assert twin["macro"]["candidate_mean"] == pytest.approx(np.mean(values))
    assert {other["candidate"] for other in section["others"]} == {
        "alone",
        "uncorrected fused",
        "popularity",
        "item-knn cross",
        "bpr-mf",
    }
    ascending = sorted(section["others"], key=lambda other: other["macro"]["p_value"])
    steps = [(len(ascending) - n) * other["macro"]["p_value"] for n, other in enumerate(ascending)]
    expected = np.minimum(np.maximum.accumulate(steps), 1)
    assert [other["p_value_over_models"] for other in ascending] == pytest.approx(expected)
    text = (tmp_path / "results.md").read_text()
    assert "| 95 % interval | p | p over models |" in text
    assert "trials of 1 epochs" in text
    assert "- small, syncrec (2 trials): training.learning_rate = " in text
    assert "- small, uncorrected (those of syncrec): training.learning_rate = " in text
    assert "different versions" not in text
    assert f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}" in text
    saved = json.loads((tmp_path / "results.json").read_text())
    chosen = experiment.chosen("small", "syncrec")
    assert saved["chosen"] == {"small": {"syncrec": chosen, "uncorrected": chosen}}
    assert saved["sections"] == json.loads(json.dumps(content["sections"]))


def test_results_of_different_versions_are_said_to_be(experiment, tmp_path, monkeypatch):
    def older(self, *arguments):
        found = results(self, *arguments)
        first = found["syncrec"][0]
        versions = {**first.provenance.versions, "torch": "1.0"}
        found["syncrec"][0] = replace(first, provenance=replace(first.provenance, versions=versions))
        return found

    results = Experiment.results
    monkeypatch.setattr(Experiment, "results", older)
    content = write_summary(experiment, tmp_path / "results.md")
    assert content["versions"]["torch"] == ["1.0", torch.__version__]
    assert (
        f"different versions are compared here**: torch 1.0, {torch.__version__}."
        in (tmp_path / "results.md").read_text()
    )


def test_a_model_that_is_no_run_is_evaluated_under_its_name(experiment):
    results = experiment.results("small", "full")
    assert {label: results[label][0].provenance.model for label in BASELINES} == {m: m for m in BASELINES}


@pytest.mark.parametrize("candidate", ["popularity", "bpr-mf"])
def test_a_model_that_is_no_run_meets_every_seed(experiment, tmp_path, candidate):
    (section,) = write_summary(experiment, tmp_path / "results.md")["sections"]
    (found,) = [other for other in section["others"] if other["candidate"] == candidate]
    assert found["num_seeds"] == 2


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path):
    jobs = [
        Job("bad", [["evaluate", str(tmp_path / "gone")]], tmp_path / "bad.txt"),
        Job("good", [["models"]], tmp_path / "good.txt"),
    ]
    outcomes = {}
    run_queue(given(*jobs), 1, lambda outcome: outcomes.update({outcome.job.name: outcome.fault}))
    assert outcomes["good"] is None
    assert "no such run" in outcomes["bad"]
    assert "sasrec" in (tmp_path / "good.txt").read_text()


def test_a_queue_runs_so_many_at_a_time_and_asks_again_after_each(tmp_path):
    jobs = [Job(f"job {n}", [["models"]], tmp_path / f"{n}.txt") for n in range(3)]
    running, most, order = set(), [], []

    def take():
        if not jobs:
            return len(order) < 3  # as long as something runs there might be more
        running.add(jobs[0].name)
        most.append(len(running))
        return jobs.pop(0)

    def finished(outcome):
        assert outcome.fault is None
        running.discard(outcome.job.name)
        order.append(outcome.job.name)

    run_queue(take, 2, finished)
    assert sorted(order) == ["job 0", "job 1", "job 2"]
    assert max(most) == 2


def wait_for(condition, *processes):
    """Until it holds, while all `processes` run; they are killed if it never does."""
    deadline = time.monotonic() + 300
    try:
        while not condition():
            assert all(process.poll() is None for process in processes), "a process has ended too early"
            assert time.monotonic() < deadline, "nothing happens"
            time.sleep(0.05)
    except BaseException:
        for process in processes:
            process.kill()
        raise


@pytest.mark.slow
@pytest.mark.timeout(2_400)
def test_two_processes_share_a_search_and_one_is_killed(plan_path, experiment, tmp_path):
    text = plan_path.read_text().replace("seeds = [0, 1]", "seeds = [0]").replace("trials = 2", "trials = 4")
    text = text.replace("[models.item-knn]\n[models.bpr-mf]\n", "").replace("[1e-3, 1e-2]", "{low = 1e-4, high = 1e-2}")
    text = text.replace('log = "log.csv"', f'dataset = "{experiment.dataset_path("small")}"')
    text = text.split("[models.alone]")[0].replace('twin = "alone"\n', "")
    (tmp_path / "plan.toml").write_text(text)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "syncrec", "benchmark", str(tmp_path / "plan.toml"), "--out", str(out), "--join"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    leader, helper = (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    )
    claims = out / "tuning/small/syncrec/claims"
    wait_for(lambda: len(list(claims.glob("*"))) >= 2, leader, helper)
    helper.kill()
    _, errors = leader.communicate(timeout=500)
    helper.communicate()
    survivor = leader
    if leader.returncode:  # the process that was killed had the directory; the other one was its helper
        survivor = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        _, errors = survivor.communicate(timeout=500)
    assert survivor.returncode == 0, errors
    content = json.loads((out / "tuning/small/syncrec/chosen.json").read_text())
    assert len(content["trials"]) == 4
    assert all(trial["value"] is not None for trial in content["trials"])
    assert len(list((out / "tuning/small/syncrec").glob("trial-*.toml"))) == 4
    assert content["chosen"] == max(content["trials"], key=lambda trial: trial["value"])["settings"]


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_several_workers_go_on_where_one_worker_of_an_earlier_version_stopped(plan_path, experiment, tmp_path):
    text = (
        plan_path.read_text()
        .replace("seeds = [0, 1]", "seeds = [0]")
        .replace("[1e-3, 1e-2]", "{low = 1e-4, high = 1e-2}")
    )
    text = text.replace("[models.item-knn]\n[models.bpr-mf]\n", "")
    text = text.replace('log = "log.csv"', f'dataset = "{experiment.dataset_path("small")}"')
    (tmp_path / "plan.toml").write_text(text.replace("trials = 2", "trials = 5"))
    out, lines = tmp_path / "out", []

    def stopping(line):
        lines.append(line)
        if "trial 3 of 5" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Experiment(load_plan(tmp_path / "plan.toml"), out, 1, stopping).run()
    files = {path.name: path.read_text() for path in (out / "tuning/small/syncrec").glob("trial-*.toml")}
    assert len(files) == 3
    (out / "tuning/small/syncrec" / JOURNAL_NAME).unlink()  # which that version did not keep
    assert Experiment(load_plan(tmp_path / "plan.toml"), out, 2, lines.append).run() == []
    content = json.loads((out / "tuning/small/syncrec/chosen.json").read_text())
    assert len(content["trials"]) == 5
    assert all((out / "tuning/small/syncrec" / name).read_text() == text for name, text in files.items())
    first = [load_config(out / f"tuning/small/syncrec/trial-{n:03d}/config.toml") for n in range(5)]
    assert [config.training.learning_rate for config in first] == [
        trial["settings"]["training.learning_rate"] for trial in content["trials"]
    ]


@pytest.mark.timeout(1_400)
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_running_cells_and_the_same_command_goes_on(plan_path, experiment, tmp_path, kind):
    text = plan_path.read_text().replace("seeds = [0, 1]", "seeds = [0]").replace("trials = 2", "trials = 0")
    text = text.replace('"training.epochs" = 2', '"training.epochs" = 400\n"training.patience" = 400')
    text = text.replace("[models.item-knn]\n[models.bpr-mf]\n", "")
    text = text.replace('log = "log.csv"', f'dataset = "{experiment.dataset_path("small")}"')
    (tmp_path / "plan.toml").write_text(text)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "syncrec", "benchmark", str(tmp_path / "plan.toml"), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    log = out / "runs/small/syncrec/seed-0/log.jsonl"
    wait_for(lambda: log.exists() and log.stat().st_size, process)
    process.send_signal(kind)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "syncrec: stopped; what was trained is saved; continue with the same command"
    epochs = len(log.read_text().splitlines())
    assert 0 < epochs < 400
    # A shorter plan would be refused; the saved state is what `train --resume` continues from.
    fresh = Experiment(load_plan(tmp_path / "plan.toml"), out, 1, lambda _: None)
    assert fresh.results("small", "full") == {}
    assert not RunDirectory.open(log.parent).is_finished()
    assert (log.parent / "last.safetensors").exists()


def test_what_was_chosen_on_another_dataset_is_refused(experiment, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(experiment.out, out)
    copy = replace(experiment, out=out)
    chosen = copy.places.tuning("small", "syncrec") / "chosen.json"
    assert copy._tune("small", "syncrec") is None
    content = json.loads(chosen.read_text())
    assert content["dataset_checksum"] == copy.dataset("small").checksum
    chosen.write_text(json.dumps({**content, "dataset_checksum": "another"}))
    with pytest.raises(ConfigError, match="syncrec: is of another dataset than small is now; choose another --out"):
        copy._tune("small", "syncrec")
