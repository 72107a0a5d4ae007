"""Losses that a model adds of its own."""

import pytest
import torch

from builders import catalogue_of, objective_for, random_histories, small_config, small_model, training_batch

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
