import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import workload

from syncrec.config import load_config
from syncrec.data.catalogue import Catalogue
from syncrec.losses.objective import make_learner
from syncrec.planning.laws import LAWS
from syncrec.planning.work import (
    PARTS,
    Work,
    anchor_work,
    block_work,
    dense_table_work,
    expert_passes,
    loss_work,
    num_dense_parameters,
    num_tensors,
    part_of,
    ranking_work,
    rows_touched,
    step_work,
    touched_entries,
    tower_work,
)
from syncrec.planning.workload import ViewShape

VIEW = ViewShape(2, 10, 18)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("model.dim=32", "model.num_layers=3", "model.num_experts=5", "model.time=false"),
        ("model.feedforward_multiplier=1", "model.max_length=7", "model.dim=20"),
    ],
)
def test_parameters_are_those_of_the_model_that_is_made(settings):
    config, catalogue = load_config(None, settings), Catalogue((0, 10, 30, 60))
    learner = make_learner(config, catalogue, np.ones(60, dtype=np.int64))
    real = [p for module in learner for p in module.parameters()]
    table = catalogue.num_tokens * config.model.dim
    assert num_dense_parameters(config, 3) == sum(p.numel() for p in real) - table
    assert num_tensors(config) == pytest.approx(len(real), abs=4)


def test_products_of_a_layer_by_hand():
    # 20 slots; 4 x 3 x 3 + 2 x 3 x 6 = 72 multiply-adds each, three times as many when trained
    assert block_work(VIEW, 3, 6, is_trained=False).flops == 2 * 20 * 72
    assert block_work(VIEW, 3, 6, is_trained=True).flops == 3 * 2 * 20 * 72


def test_products_of_towers_anchors_and_ranks_by_hand():
    assert tower_work(5, 3, 6, 4).flops == 3 * 2 * (2 * 5) * (2 * 3 * 6)
    assert tower_work(5, 3, 6, 4).calls == 4
    assert anchor_work(7, 3).flops == 3 * 2 * (7 * 7 * 3 + 7 * 3 * 3)
    assert ranking_work(11, 100, 3).flops == 2 * 11 * 100 * 3


@pytest.mark.parametrize(("items", "products"), [(1000, 3), (100_000, 4)])
def test_the_full_softmax_computes_wide_domains_twice(items, products):
    config = load_config(None, ["model.dim=8"])
    assert loss_work(10, config, items, 2).flops == products * 2 * (2 * 10 * items) * 8


def test_sampled_negatives_are_shared_and_those_of_bce_gathered():
    sampled, bce = (
        loss_work(10, load_config(None, [f"loss.kind={kind}", "loss.num_negatives=50", "model.dim=8"]), 1e6, 2)
        for kind in ("sampled", "bce")
    )
    assert sampled.flops == bce.flops == 3 * 2 * (2 * 10 * 50) * 8
    assert sampled.bytes == 4 * (8 * 1000 + 8 * 2 * 50 * 8)
    assert bce.bytes == 4 * (8 * 10 * 50 * 8 + 8 * 1000)


def test_views_train_their_own_experts_and_read_the_others():
    settings = ("model.num_experts=5", "model.num_cross_experts=2")
    assert expert_passes(load_config(None, settings)) == {"cross": (2, 3), "single": (3, 2)}
    own = expert_passes(load_config(None, [*settings, "model.mixing=own-only"]))
    assert own == {"cross": (2, 0), "single": (3, 0)}
    all_trained = expert_passes(load_config(None, [*settings, "model.mixing=no-stop-gradient"]))
    assert all_trained == {"cross": (5, 0), "single": (5, 0)}


def test_rows_touched_by_hand():
    assert rows_touched(1, 10) == pytest.approx(1)
    assert rows_touched(2, 10) == pytest.approx(1.9)  # the second is new nine times of ten
    assert rows_touched(1e9, 10) == pytest.approx(10)
    assert rows_touched(1000, 1e9) == pytest.approx(1000, rel=1e-5)


@given(st.floats(1, 1e7), st.floats(2, 1e8))
def test_rows_touched_are_bounded_by_uses_and_items(entries, items):
    assert 0 < rows_touched(entries, items) <= min(entries, items) * (1 + 1e-6) + 1e-6


def test_a_large_table_is_updated_by_rows_and_its_cost_does_not_grow_with_items():
    few, many = (workload("loss.kind=sampled", items=items) for items in (200_000, 20_000_000))
    works = [step_work(w.step, w.config, w.items, w.domains)["item table, rows"].bytes for w in (few, many)]
    assert works[1] < 1.05 * works[0]
    entries = touched_entries(few.step, few.config, 3)
    assert entries == few.step.cross.slots + few.step.single.slots + few.step.targets + 3 * 1024


def test_a_small_table_is_updated_whole():
    assert dense_table_work(100, 8, is_whole=False).bytes == 4 * 100 * 8 * 24
    names = set(step_work(workload().step, workload().config, 9000, 3))
    assert "item table, whole" in names
    names = set(step_work(workload().step, load_config(None, ["loss.kind=sampled"]), 9000, 3))
    assert "item table, dense" in names


def test_every_work_has_a_law_and_every_law_of_a_step_a_part():
    for settings in ((), ("loss.kind=gbce",), ("loss.kind=sampled", "model.max_length=200")):
        plan = workload(*settings, events=600_000)
        assert set(step_work(plan.step, plan.config, plan.items, plan.domains)) <= set(LAWS)
    assert {part_of(law) for law in LAWS if law != "ranking"} == set(PARTS)


def test_works_add_up():
    assert Work(1, 2, 3) + Work(1, 1, 1) * 2 == Work(3, 4, 5)
