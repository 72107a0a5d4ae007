import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import catalogue_of, objective_for, small_config, small_model
from syncrec.config import TrainingConfig
from syncrec.models.registry import MODELS
from syncrec.training.optimizer import learning_rate, make_optimizer

CONSTANT = TrainingConfig(learning_rate=0.1, warmup_steps=4, schedule="constant")
COSINE = TrainingConfig(learning_rate=0.1, warmup_steps=4, schedule="cosine")


@pytest.mark.parametrize("config", [CONSTANT, COSINE])
def test_warm_up_is_a_straight_line_to_the_peak(config):
    rates = [learning_rate(config, step, 20) for step in range(4)]
    assert rates == pytest.approx([0.1 * 1 / 4, 0.1 * 2 / 4, 0.1 * 3 / 4, 0.1])


def test_constant_stays_at_the_peak():
    assert {learning_rate(CONSTANT, step, 20) for step in range(4, 20)} == {0.1}


def test_cosine_by_hand():
    middle, end = 0.1 * (0.01 + 0.99 / 2), 0.1 * 0.01
    assert learning_rate(COSINE, 4, 20) == pytest.approx(0.1)
    assert learning_rate(COSINE, 8, 20) == pytest.approx(0.1 * (0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2))
    assert learning_rate(COSINE, 12, 20) == pytest.approx(middle)
    assert learning_rate(COSINE, 20, 20) == pytest.approx(end)
    assert learning_rate(COSINE, 25, 20) == pytest.approx(end)


@given(st.integers(0, 30), st.integers(1, 60), st.sampled_from(["constant", "cosine"]))
def test_the_rate_is_always_positive_and_never_above_the_peak(warmup, total, schedule):
    config = TrainingConfig(learning_rate=0.1, warmup_steps=warmup, schedule=schedule)
    assert all(0 < learning_rate(config, step, total) < 0.1 + 1e-12 for step in range(total + 3))


def is_bias_or_norm(name):
    last = name.rpartition(".")[2]
    return "norm" in name or "bias" in last or last.endswith(("scale", "shift"))


@pytest.mark.parametrize("name", MODELS)
def test_biases_and_norms_are_not_decayed(name):
    catalogue, config = catalogue_of(4, 5, 3), small_config(model={"name": name}, training={"weight_decay": 0.5})
    model, objective = small_model(catalogue, name=name), objective_for(config, catalogue)
    optimizer = make_optimizer([model, objective], config.training)
    decayed = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    named = [*model.named_parameters(), *objective.named_parameters()]
    assert len(decayed) == len(named)
    free = {name for name, p in named if decayed[id(p)] == 0}
    assert free == {name for name, _ in named if is_bias_or_norm(name)}
    assert {decayed[id(p)] for name, p in named if name not in free} == {0.5}
