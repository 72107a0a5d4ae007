import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from builders import catalogue_of, objective_for, random_histories, small_config, small_model, training_batch
from syncrec.config import TransferConfig
from syncrec.losses.transfer import TransferCorrection

HERE = torch.tensor([True, True])


def correction_of(num_domains=2, alone=(), **config):
    return TransferCorrection(np.isin(np.arange(num_domains), alone), TransferConfig(**config))


def test_relative_gap_decays_and_takes_in_the_new_gap():
    correction = correction_of(alpha=0.5, beta=0.1)
    correction.update(torch.tensor([2.0, -1.0]), HERE)
    torch.testing.assert_close(correction.relative_gap, torch.tensor([0.2, -0.1]))
    correction.update(torch.tensor([1.0, 1.0]), HERE)
    torch.testing.assert_close(correction.relative_gap, torch.tensor([0.5 * 0.2 + 0.1, 0.5 * -0.1 + 0.1]))


def test_an_absent_domain_keeps_its_relative_gap():
    correction = correction_of(alpha=0.5, beta=0.1)
    correction.update(torch.tensor([2.0, -1.0]), HERE)
    correction.update(torch.tensor([0.0, 4.0]), torch.tensor([False, True]))
    torch.testing.assert_close(correction.relative_gap, torch.tensor([0.2, 0.5 * -0.1 + 0.4]))


def test_weights_by_hand():
    correction = correction_of(temperature=2.0, weights="relative")
    correction.relative_gap.copy_(torch.tensor([0.0, 2.0]))
    e = 2.718281828459045
    torch.testing.assert_close(correction.weights(), torch.tensor([2 * 1 / (1 + e), 2 * e / (1 + e)]))


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.floats(0.1, 10))
def test_weights_have_mean_one_and_the_order_of_the_gaps(gaps, temperature):
    correction = correction_of(len(gaps), temperature=temperature, weights="relative")
    correction.relative_gap.copy_(torch.tensor(gaps))
    weights = correction.weights()
    assert float(weights.mean()) == pytest.approx(1, abs=1e-5)
    assert (weights[correction.relative_gap.argsort()].diff() >= 0).all()


@pytest.mark.parametrize("weights", ["relative", "harm"])
def test_a_domain_that_suffers_gets_less_weight(weights):
    correction = correction_of(3, weights=weights)
    correction.update(torch.tensor([-3.0, -1.0, 3.0]), torch.tensor([True] * 3))
    first, second, third = correction.weights().tolist()
    assert first < second < third


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.floats(0.1, 10))
def test_by_harm_a_domain_has_less_weight_only_where_it_suffers(gaps, temperature):
    correction = correction_of(len(gaps), temperature=temperature, weights="harm")
    correction.relative_gap.copy_(torch.tensor(gaps))
    expected = [1.0 if gap >= 0 else math.exp(gap / temperature) for gap in gaps]
    assert correction.weights().tolist() == pytest.approx(expected, rel=1e-4, abs=1e-12)


def test_by_harm_what_one_domain_gains_takes_nothing_from_another():
    found = []
    for gain in (0.0, 4.0):
        correction = correction_of(3, weights="harm")
        correction.relative_gap.copy_(torch.tensor([gain, 0.4, -1.0]))
        found.append(correction.weights())
    assert torch.equal(found[0], found[1])


def test_correction_off_gives_ones_but_still_keeps_the_gap():
    correction = correction_of(correction=False)
    correction.update(torch.tensor([5.0, -5.0]), HERE)
    assert correction.weights().tolist() == [1.0, 1.0]
    assert correction.relative_gap[0] > 0


@pytest.mark.parametrize(
    ("config", "total"),
    [
        ({"correction": False}, 2),
        ({"weights": "relative"}, 2),
        ({"weights": "harm"}, 1 + math.exp(-0.5)),
    ],
)
def test_a_domain_that_reads_itself_alone_has_no_share_in_the_weights(config, total):
    found = []
    for gap in (0.0, -4.0, 4.0):
        correction = correction_of(3, [1], **config)
        correction.relative_gap.copy_(torch.tensor([0.5, gap, -0.5]))
        found.append(correction.weights())
        assert float(found[-1][1]) == 0
        assert float(found[-1].sum()) == pytest.approx(total)
        assert torch.equal(found[-1], found[0])
    assert correction_of(2, [0, 1], **config).weights().tolist() == [0, 0]


@pytest.mark.parametrize("beta", [0.0, -0.1])
def test_beta_must_be_positive(beta):
    with pytest.raises(ValidationError):
        TransferConfig(beta=beta)


def test_relative_gap_is_saved_state():
    first, second = correction_of(), correction_of()
    first.update(torch.tensor([5.0, -5.0]), HERE)
    assert list(first.state_dict()) == ["relative_gap"]
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.weights(), first.weights())
    assert not list(first.parameters())


def test_no_graph_is_kept_from_step_to_step():
    correction = correction_of()
    for _ in range(3):
        gap = torch.randn(2, requires_grad=True) * 2
        correction.update(gap, HERE)
        assert not correction.relative_gap.requires_grad
        assert correction.relative_gap.grad_fn is None
        assert not correction.weights().requires_grad


def test_the_objective_moves_the_gap_in_training_only():
    catalogue, config = catalogue_of(4, 5, 3), small_config()
    model, objective = small_model(catalogue), objective_for(config, catalogue)
    _, batch = training_batch(catalogue, random_histories(catalogue_of(4, 5), [7, 5]), 6)
    objective.eval()(model, batch, torch.Generator().manual_seed(0))
    assert objective.correction.relative_gap.tolist() == [0.0, 0.0, 0.0]
    report = objective.train()(model, batch, torch.Generator().manual_seed(0))
    expected = config.transfer.beta * (report.domain_losses["single"] - report.domain_losses["cross"])
    torch.testing.assert_close(objective.correction.relative_gap, expected)
    assert report.transfer_gap[2] == 0
    assert all(not part.requires_grad for part in (report.transfer_gap, report.weights, report.mutual_information))


def test_the_ablation_without_correction_keeps_the_single_loss():
    catalogue = catalogue_of(4, 5)
    config = small_config(transfer={"correction": False}, loss={"mutual_information_weight": 0.0})
    model, objective = small_model(catalogue), objective_for(config, catalogue)
    _, batch = training_batch(catalogue, random_histories(catalogue, [7, 5]), 6)
    report = objective(model, batch, torch.Generator().manual_seed(0))
    parts = report.domain_losses["cross"].sum() + report.domain_losses["single"].sum()
    torch.testing.assert_close(report.total, parts)


def test_a_measured_gap_replaces_the_relative_one_where_there_is_one():
    correction = correction_of()
    correction.update(torch.tensor([2.0, 4.0]), HERE)
    before = correction.relative_gap.tolist()
    correction.take(torch.tensor([float("nan"), -1.0]))
    assert correction.relative_gap.tolist() == [before[0], -1.0]
