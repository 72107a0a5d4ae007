"""A whole experiment: users who click, over HTTP, events into the store and out of it, and the report on them."""

import json
import time
from datetime import UTC, datetime
from functools import partial
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from server import Server

from syncrec.cli import main
from syncrec.client import Client
from syncrec.errors import ConfigError
from syncrec.experimentation.lifecycle import load_experiment, ramp_experiment, start_experiment, stop_experiment
from syncrec.experimentation.population import Answer, Population, simulate
from syncrec.serving.arms import Choice, ExperimentArms
from syncrec.serving.messages import EventMessage

NOW = datetime.now(UTC)
LIFT = 1.214
FILE = """
name = "fused-answers"
salt = "one of its own"
minimum_lift = 0.1
min_users = 20
[arms.control]
share = 0.5
run = "run"
answer = "single"
[arms.fused]
share = 0.5
run = "run"
answer = "fused"
[guardrails.slow]
metric = "latency_ms"
limit = 10_000
[guardrails.faults]
metric = "errors"
limit = 0.5
"""


@pytest.fixture
def experiment(place, tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(FILE.replace('"run"', f'"{place / "run"}"'))
    return path


@pytest.fixture
def runs(place):
    return {"other": place / "other", "run": place / "run"}


def test_users_get_the_run_and_the_answer_of_their_arm(experiment, runs):
    chooser = ExperimentArms(experiment, runs)
    assert chooser.choose("anna") == Choice("other")
    start_experiment(experiment, NOW)
    chooser = ExperimentArms(experiment, runs)
    found = {chooser.choose(f"u{n}") for n in range(50)}
    assert found == {Choice("run", "single", "control"), Choice("run", "fused", "fused")}
    assert chooser.choose(None) == Choice("other")
    assert chooser.choose("u7").arm == load_experiment(experiment).arm_of("u7", NOW.timestamp())


def test_a_start_a_ramp_and_a_stop_reach_a_running_service(experiment, runs, monkeypatch):
    experiment.write_text("ramp = 0.2\n" + experiment.read_text())
    clock = partial(next, count(0, 2))
    monkeypatch.setattr("syncrec.serving.arms.time", SimpleNamespace(monotonic=clock, time=time.time))
    chooser = ExperimentArms(experiment, runs)
    users = [f"u{n}" for n in range(200)]

    def inside():
        return {user: choice.arm for user in users if (choice := chooser.choose(user)).arm}

    assert inside() == {}
    start_experiment(experiment, NOW)
    few = inside()
    assert 20 <= len(few) <= 60
    ramp_experiment(experiment, 1.0, NOW)
    assert len(everybody := inside()) == 200
    assert few.items() <= everybody.items()
    experiment.write_text("no TOML")
    assert inside() == everybody
    experiment.write_text("ramp = 0.2\n" + FILE.replace('"run"', f'"{runs["run"]}"'))
    stop_experiment(experiment, NOW)
    assert inside() == {}


def test_a_run_that_is_not_served_is_refused(experiment, place):
    with pytest.raises(ConfigError, match=r"arms.control.run = .*run is not served; served are other"):
        ExperimentArms(experiment, {"other": place / "other"})


def rehearse(experiment, place, folder, num_users, num_days):
    """Users over HTTP with a true lift of 21.4 % in the arm `fused`; gives what the report says, as JSON."""
    start_experiment(experiment, NOW)
    arms = load_experiment(experiment)
    population = Population(("books", "films"), num_users=num_users, num_days=num_days, start_s=NOW.timestamp())
    rates = dict(zip(population.users, np.random.default_rng(0).beta(2, 18, num_users), strict=True))
    store = f"sqlite:///{folder / 'events.db'}"
    with (
        Server(place / "run", "--store", store, "--experiment", experiment) as server,
        Client(server.url, timeout_s=60) as client,
    ):

        def answer(user, domain):
            found = client.recommend(domain, user=user, k=3)
            assert found.arm == arms.assigned_arm(user)
            assert found.answer == ("single" if found.arm == "control" else "fused")
            return Answer([entry.item for entry in found.items], found.request_id, found.arm)

        def clicks(user, domain, items):
            return np.full(len(items), rates[user] * (LIFT if arms.assigned_arm(user) == "fused" else 1.0))

        events = [event for event in simulate(population, answer, clicks) if event.kind != "request"]
        sent = [
            EventMessage(
                e.kind, e.user, e.domain, e.item, event_id=e.event_id, request_id=e.request_id, position=e.position
            )
            for e in events
        ]
        for first in range(0, len(sent), 1000):
            assert client.send_events(sent[first : first + 1000]).stored == len(sent[first : first + 1000])
        assert server.stop() == 0  # a service that is killed loses the last second of what it knows of its answers
    assert main(["export-events", store, "--out", str(folder / "events.csv"), "--all-kinds"]) == 0
    report = ["experiment", "report", str(experiment), "--events", str(folder / "events.csv")]
    assert main([*report, "--json", str(folder / "report.json")]) == 0
    return events, json.loads((folder / "report.json").read_text())


def counted(events, arms):
    """(impressions, clicks) of each arm, from the simulation itself."""
    kinds = [(arms.assigned_arm(event.user), event.kind) for event in events]
    return {arm: tuple(kinds.count((arm, kind)) for kind in ("impression", "click")) for arm in ("control", "fused")}


def test_what_the_report_counts_is_what_the_users_did(experiment, place, tmp_path):
    events, report = rehearse(experiment, place, tmp_path, num_users=40, num_days=1)
    expected = counted(events, load_experiment(experiment))
    assert {row["arm"]: (row["impressions"], row["clicks"]) for row in overall(report)} == expected
    assert all(impressions > 0 for impressions, _ in expected.values())
    slow, faults = ([one for one in report["guardrails"] if one["guardrail"] == name] for name in ("slow", "faults"))
    assert all(0 < one["value"] < 10_000 for one in slow)
    assert [one["value"] for one in faults] == [0, 0]
    assert all(one["status"] != "no data" for one in (*faults, *slow))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_true_lift_of_21_4_percent_is_found_over_http(experiment, place, tmp_path):
    _, report = rehearse(experiment, place, tmp_path, num_users=4000, num_days=4)
    (comparison,) = report["overall"]
    assert comparison["lift"]["low"] <= LIFT - 1 <= comparison["lift"]["high"]
    assert comparison["verdict"] == "gains"


def overall(report):
    return [row for row in report["counts"] if row["domain"] is None]
