import json

import pytest
from plans import machine, workload

from syncrec.planning.estimate import disk_bytes, estimate, remedies
from syncrec.planning.hardware import GPUS, published_machine
from syncrec.planning.report import assumption_lines, duration, head_lines, plan_tables, remedy_lines, size
from syncrec.planning.work import PARTS


def test_parts_add_up_to_the_step_and_steps_to_the_epoch():
    plan = estimate(workload(users=1280), machine())
    assert set(plan.chosen.step_s) == set(PARTS)
    assert plan.chosen.whole_step_s == pytest.approx(sum(plan.chosen.step_s.values()))
    assert plan.epoch_s == pytest.approx(10 * plan.chosen.whole_step_s)
    assert plan.chosen.memory_bytes == pytest.approx(sum(plan.chosen.memory.values()))
    assert plan.prepare_s == pytest.approx(60_000 * 1e-6)


@pytest.mark.parametrize(
    "larger",
    [
        {"items": 18_000},
        {"events": 120_000},
        {"users": 4000, "events": 120_000},
        {"settings": ("model.dim=128",)},
        {"settings": ("model.num_layers=2",)},
        {"settings": ("model.num_experts=8",)},
        {"settings": ("model.feedforward_multiplier=4",)},
    ],
)
def test_more_of_anything_costs_no_less(larger):
    settings = larger.pop("settings", ())
    before, after = estimate(workload(), machine()), estimate(workload(*settings, **larger), machine())
    assert after.epoch_s > before.epoch_s
    assert after.chosen.memory_bytes >= before.chosen.memory_bytes


def test_doubling_says_what_the_doubled_plan_says():
    plan, twice = (estimate(workload(items=items), machine()) for items in (9000, 18_000))
    factors = plan.to_json()["doubled"]["items"]
    assert factors["epoch"] == pytest.approx(twice.epoch_s / plan.epoch_s)
    assert factors["memory"] == pytest.approx(twice.chosen.memory_bytes / plan.chosen.memory_bytes)


def test_several_devices_share_the_steps_and_pay_for_talking():
    one, four = (estimate(workload(processes=count), machine()) for count in (1, 4))
    assert four.workload.steps == pytest.approx(one.workload.steps / 4, abs=1)
    assert [layout.is_sharded for layout in four.layouts] == [False, True]
    assert all(layout.exchange_s > 0 for layout in four.layouts)
    assert four.chosen.whole_step_s == min(layout.whole_step_s for layout in four.layouts)


def test_a_table_too_large_for_one_device_is_sharded_over_several():
    plan = estimate(workload("loss.kind=sampled", items=20_000_000, processes=4), machine())
    assert [layout.fits for layout in plan.layouts] == [False, True]
    assert plan.chosen.is_sharded
    assert remedies(plan) == []


def test_what_does_not_fit_is_told_what_to_change():
    plan = estimate(workload(items=20_000_000), machine())
    assert not plan.chosen.fits
    said = " ".join(remedy_lines(plan))
    assert "devices: " in said or "training.batch_size" in said
    assert "loss.kind = sampled" in said
    assert "DOES NOT FIT" in " ".join(head_lines(plan))


def test_a_machine_without_a_network_says_so():
    plan = estimate(workload(processes=2), machine(network=None))
    assert plan.chosen.exchange_s is None
    assert "not measured" in str(plan_tables(plan)[1])


def test_disk_by_hand():
    found = disk_bytes(workload("model.dim=16"))
    assert found["dataset"] == 12 * 60_000 + 44 * 2000 + 28 * 9000
    assert found["while preparing"] == 16 * 60_000


def test_a_plan_is_json_and_text_and_says_what_is_not_calibrated():
    plan = estimate(workload(processes=16), published_machine(GPUS["H200"]))
    assert json.loads(json.dumps(plan.to_json(), allow_nan=False))["machine"]["is_calibrated"] is False
    text = " ".join([*head_lines(plan), *assumption_lines(plan)])
    assert "NOT CALIBRATED" in text
    assert "data sheet" in text
    assert [table.title.split(",")[0] for table in plan_tables(plan)] == [
        "Memory of a device",
        "Communication of a step",
        "Time",
        "What doubling an input costs",
        "Disk",
    ]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**40 * 300, "300 TiB")]
)
def test_sizes(number, text):
    assert size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2e-5, "20 us"), (0.5, "500 ms"), (14, "14 s"), (180, "3 min"), (7200, "2 h"), (1e6, "11.6 days")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
