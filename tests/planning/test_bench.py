"""Measurements on this machine: that they are made, not what they say."""

import dataclasses

import pytest
import torch
from plans import machine, workload

from syncrec.errors import SyncrecError
from syncrec.planning import network
from syncrec.planning.bench import bench
from syncrec.planning.estimate import estimate
from syncrec.planning.laws import LAWS
from syncrec.planning.memory import Layout, memory_parts
from syncrec.planning.steps import Clock
from syncrec.planning.whole import measure_in_a_process

TINY = ("model.dim=16", "training.batch_size=16", "training.device=cpu")


def test_whole_steps_are_measured_with_their_memory():
    plan = workload(*TINY, "loss.kind=sampled", "model.dim=64", items=120_000)
    found = measure_in_a_process(plan, 1, num_steps=2)
    assert found.seconds > 0
    assert set(found.work) <= set(LAWS)
    grown = found.peak_bytes - found.base_bytes
    parts = memory_parts(plan, Layout())
    assert parts["item table"] * 3 < grown < 3 * sum(parts.values())


@pytest.mark.slow
def test_a_step_that_fails_says_why():
    plan = workload(*TINY)
    broken = plan.config.training.model_copy(update={"device": "cuda:99"})
    plan = dataclasses.replace(plan, config=plan.config.model_copy(update={"training": broken}))
    with pytest.raises(SyncrecError, match=r"a measured step failed: .*cuda"):
        measure_in_a_process(plan, 1)


def test_the_link_between_two_processes_is_measured():
    link = network.measure("cpu", 2)
    assert link.latency_s >= 0
    assert 1e6 < link.bytes_per_s < 1e12


def test_a_long_function_is_called_less_often():
    calls = []
    Clock(torch.device("cpu")).seconds(lambda: calls.append(0))
    assert len(calls) == 1 + 5


@pytest.mark.slow
def test_a_machine_is_measured_and_a_plan_made_with_it():
    said = []
    found = bench("cpu", 1, said.append)
    assert found.is_calibrated
    assert len(said) == 3
    for step in found.agreement:
        assert 0.5 < step.predicted_s / step.measured_s < 2
    assert estimate(workload(), found).epoch_s > 0
    assert found.model_validate_json(found.model_dump_json()) == found
    assert machine().laws.keys() == found.laws.keys()
