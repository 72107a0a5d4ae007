"""The packed, grouped network and objective against the one written in loops: values and every gradient."""

import numpy as np
import pytest
import torch

from builders import (
    catalogue_of,
    in_given_order,
    objective_for,
    query_batch,
    random_histories,
    shake,
    small_config,
    training_batch,
)
from reference.network import ReferenceNetwork
from reference.objective import reference_objective
from syncrec.losses.mutual_information import choose_anchors
from syncrec.models.registry import build_model

VALUE = {"atol": 1e-5, "rtol": 1e-5}
GRADIENT = {"atol": 2e-5, "rtol": 2e-4}

# name: (sizes of the domains, histories as item indices); T is 6, so histories of more than 7 events are cut
CASES = {
    "two domains": ((4, 5), [[0, 5, 1, 6], [4, 4, 2], [8, 3]]),
    "three domains": ((4, 3, 5), [[0, 5, 9, 1, 11, 6], [4, 7, 2], [10, 3]]),
    "five domains": ((2, 3, 2, 4, 3), [[0, 2, 5, 7, 11, 1, 3], [13, 8, 4], [6, 9, 12]]),
    "users of a single domain": ((4, 3), [[0, 1, 2, 3], [4, 5, 6], [1, 1]]),
    "histories of length 1": ((4, 3), [[0], [5], [3]]),
    "histories cut at T": ((4, 3), [[0, 5, 1, 4, 2, 6, 3, 0, 5, 4], [1, 2, 1, 2, 1, 2, 1, 2]]),
    "one-item catalogues": ((1, 1, 3), [[0, 1, 2, 0], [1, 1, 4], [3]]),
    "a domain absent from the batch": ((3, 4, 2), [[0, 2, 8, 7], [1, 8]]),
    "one user": ((3, 2), [[0, 3, 4, 1]]),
}


def build(sizes, **sections):
    catalogue, config = catalogue_of(*sizes), small_config(**sections)
    torch.manual_seed(3)
    model = build_model(catalogue, config.model)
    objective = objective_for(config, catalogue)
    shake(model), shake(objective)
    return catalogue, config, model, objective


def gradients(loss, *modules):
    named = [(name, p) for module in modules for name, p in module.named_parameters()]
    found = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named, found, strict=True)}


def compare(sizes, histories, **sections):
    catalogue, config, model, objective = build(sizes, **sections)
    before = torch.linspace(-0.7, 0.9, len(sizes))
    objective.correction.relative_gap.copy_(before)
    packed, batch = training_batch(catalogue, histories, config.model.max_length)
    report = objective(model, batch, torch.Generator().manual_seed(5))

    cut = [h[-config.model.max_length - 1 :] for h in histories]
    places = [(user, t) for user, h in enumerate(cut) for t in range(len(h))]
    chosen = choose_anchors(batch.users, batch.domains, batch.rows.uniform(torch.Generator().manual_seed(5)))
    anchors = {places[packed.order[i]] for i in chosen.tolist()}
    discriminators = objective.mutual_information.discriminator
    network = ReferenceNetwork(model)
    expected = reference_objective(network, cut, config, discriminators, before.tolist(), anchors)

    close = torch.testing.assert_close
    close(report.domain_losses["cross"], torch.stack(expected.cross).detach(), **VALUE)
    close(report.domain_losses["single"], torch.stack(expected.single).detach(), **VALUE)
    close(report.transfer_gap, torch.tensor(expected.gap), **VALUE)
    close(objective.correction.relative_gap, torch.tensor(expected.relative_gap), **VALUE)
    close(report.weights, torch.tensor(expected.weights), **VALUE)
    close(report.mutual_information, expected.mutual_information.detach(), **VALUE)
    close(report.total, expected.total, **VALUE)
    fast, slow = gradients(report.total, model, objective), gradients(expected.total, model, objective)
    for name in slow:
        close(fast[name], slow[name], **GRADIENT, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("case", CASES)
def test_packed_objective_equals_the_loops(case):
    compare(*CASES[case])


@pytest.mark.parametrize("mixing", ["no-stop-gradient", "no-separation", "own-only"])
def test_ablations_of_the_mixture_equal_the_loops(mixing):
    compare(*CASES["three domains"], model={"mixing": mixing})


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"score": "dot"}},
        {"model": {"positions": "start"}},
        {"model": {"positions": "end"}},
        {"model": {"positions": "both"}},
        {"model": {"item_similarity": False}},
        {"transfer": {"correction": False}},
        {"transfer": {"weights": "relative", "temperature": 0.2, "beta": 0.5}},
        {"transfer": {"weights": "harm", "temperature": 0.2, "beta": 0.5}},
        {"loss": {"mutual_information_weight": 2.0, "single_weight": 0.3}},
        {"loss": {"mean_over": "users"}},
        {"model": {"num_experts": 5, "num_cross_experts": 3, "num_layers": 1, "dim": 12, "num_heads": 3}},
    ],
    ids=[
        "dot scores",
        "positions from the start",
        "positions from the end",
        "positions from both ends",
        "no similarity",
        "no correction",
        "weights by all gaps",
        "weights by harm",
        "weights a and b",
        "means over users",
        "five experts",
    ],
)
def test_settings_equal_the_loops(sections):
    compare(*CASES["three domains"], **sections)


def test_answers_equal_the_loops_for_every_length_and_domain():
    catalogue, config, model, _ = build((4, 1, 5))
    histories = random_histories(catalogue, [0, 1, 2, 5, 6, 6], seed=2)
    domains = [0, 1, 2, 2, 1, 0]
    packed, batch = query_batch(catalogue, histories, domains, config.model.max_length)
    encoded = {name: in_given_order(packed, y) for name, y in model.eval().encode(batch).items()}
    network = ReferenceNetwork(model)
    expected = [network.answers(h, d) for h, d in zip(histories, domains, strict=True)]
    torch.testing.assert_close(encoded["cross"], torch.stack([cross for cross, _ in expected]), **VALUE)
    torch.testing.assert_close(encoded["single"], torch.stack([single for _, single in expected]), **VALUE)


def test_a_larger_random_batch_equals_the_loops():
    sizes = (6, 1, 8, 5)
    lengths = np.random.default_rng(1).integers(1, 10, 6)
    compare(sizes, random_histories(catalogue_of(*sizes), lengths, seed=4))
