"""Losses that a model adds of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import catalogue_of, objective_for, random_histories, small_config, small_model, training_batch
from syncrec.losses.objective import make_learner

CATALOGUE = catalogue_of(5, 4, 6)
OWN = {"c2dsr": "infomax", "cgrec": "contrast"}


def report_of(name, **loss):
    config = small_config(model={"name": name}, loss=loss)
    model, objective = small_model(CATALOGUE, name=name), objective_for(config, CATALOGUE)
    _, batch = training_batch(CATALOGUE, random_histories(CATALOGUE, [7, 6, 5, 7]), 6)
    return objective(model, batch, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "part"), OWN.items())
def test_own_losses_are_reported_and_added_with_their_weight(name, part):
    none, some = report_of(name, auxiliary_weight=0.0), report_of(name, auxiliary_weight=0.5)
    assert none.own_losses == {}
    assert list(some.own_losses) == [part]
    assert not some.own_losses[part].requires_grad
    assert some.own_losses[part] > 0
    weighed = (some.weights * some.domain_losses["cross"]).sum()
    torch.testing.assert_close(some.total, weighed + 0.5 * some.own_losses[part])
    torch.testing.assert_close(none.total, (none.weights * none.domain_losses["cross"]).sum())


@pytest.mark.parametrize("name", ["syncrec", "sasrec"])
def test_other_models_have_none(name):
    report = report_of(name, auxiliary_weight=5.0)
    assert report.own_losses == {}
    assert torch.equal(report.total, report_of(name).total)


def test_a_domain_that_reads_itself_alone_has_no_gap_and_no_mutual_information():
    apart = replace(CATALOGUE, communities=(0, 1, 0))
    model, objective = small_model(apart), objective_for(small_config(), apart)
    _, batch = training_batch(apart, random_histories(apart, [7, 6, 5, 7]), 6)
    report = objective(model, batch, torch.Generator().manual_seed(0))
    report.total.backward()
    assert report.transfer_gap[1] == 0
    assert (report.transfer_gap[[0, 2]] != 0).all()
    assert report.domain_losses["cross"][1] == report.domain_losses["single"][1]
    moved = objective.mutual_information.discriminator.grad.flatten(1).any(1)
    assert moved.tolist() == [True, False, True]


@pytest.mark.parametrize("mean_over", ["targets", "users"])
def test_the_two_answers_of_a_lone_domain_are_computed_once_and_nothing_changes(mean_over):
    apart = replace(CATALOGUE, communities=(0, 1, 0))
    _, batch = training_batch(apart, random_histories(apart, [7, 6, 5, 7]), 6)
    found = []
    for is_told in (True, False):
        torch.manual_seed(0)
        model, objective = make_learner(small_config(loss={"mean_over": mean_over}), apart, np.ones(15, dtype=np.int64))
        assert objective.next_item.is_alike == [False, True, False]
        if not is_told:
            objective.next_item.is_alike = ()
        report = objective(model, batch, torch.Generator().manual_seed(0))
        report.total.backward()
        found.append([report.total, *report.domain_losses.values(), *(p.grad for p in model.parameters())])
    for one, other in zip(*found, strict=True):
        assert one is other is None or torch.equal(one, other)


def test_nothing_that_a_lone_domain_learns_depends_on_the_gaps_of_others():
    apart = replace(CATALOGUE, communities=(0, 1, 0))
    _, batch = training_batch(apart, random_histories(apart, [7, 6, 5, 7]), 6)
    own = slice(*apart.offsets[1:3])
    found = []
    for gap in (-3.0, 0.0, 3.0):
        model, objective = small_model(apart), objective_for(small_config(), apart)
        objective.correction.relative_gap[0] = gap
        objective(model, batch, torch.Generator().manual_seed(0)).total.backward()
        network = torch.cat([parameter.grad.flatten() for parameter in model.lone["1"].parameters()])
        found.append((model.embedding.items.weight.grad[own], network, model.embedding.items.weight.grad[: own.start]))
    for rows, network, others in found[1:]:
        assert torch.equal(rows, found[0][0])
        assert torch.equal(network, found[0][1])
        assert not torch.allclose(others, found[0][2])
    assert found[0][0].any()


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_lone_domain_is_trained_by_its_single_loss_whatever_that_of_others_weighs(weight):
    apart = replace(CATALOGUE, communities=(0, 1, 0))
    _, batch = training_batch(apart, random_histories(apart, [7, 6, 5, 7]), 6)
    model, objective = small_model(apart), objective_for(small_config(loss={"single_weight": weight}), apart)
    report = objective(model, batch, torch.Generator().manual_seed(0))
    report.total.backward()
    single, cross = (report.domain_losses[name] for name in ("single", "cross"))
    expected = (report.weights * cross)[[0, 2]].sum() + weight * single[[0, 2]].sum() + single[1]
    information = objective.config.mutual_information_weight * report.mutual_information
    torch.testing.assert_close(report.total.detach(), (expected + information).detach())
    assert any(parameter.grad.any() for parameter in model.lone["1"].parameters())
