"""What PLE asks beyond the contract: experts of a domain's own, which no other domain reads or trains."""

import pytest
import torch

from builders import catalogue_of, in_given_order, shake, small_model, training_batch
from reference.network import ReferenceNetwork, softmax

CATALOGUE = catalogue_of(5, 3, 1, 7)
HISTORIES = [[0, 6, 1, 12, 8, 2, 5], [9, 7, 4], [3, 14, 13, 6]]
OWNERS = (0, 1, 3)  # domain 2 has a single item


def build(**model):
    model = small_model(
        CATALOGUE, name="ple", **{"num_experts": 4, "num_cross_experts": 2, "item_similarity": False, **model}
    )
    shake(model)
    return model


def encode(model):
    packed, batch = training_batch(CATALOGUE, HISTORIES, 6)
    return packed, batch, model.encode(batch)["cross"]


def learns(experts):
    return [any(p.grad is not None and p.grad.abs().sum() > 0 for p in expert.parameters()) for expert in experts]


@pytest.mark.parametrize(
    ("num_experts", "num_shared", "num_own"), [(4, 2, 1), (3, 1, 1), (9, 1, 2), (12, 3, 2), (13, 1, 3)]
)
def test_experts_that_are_not_shared_are_dealt_out_evenly(num_experts, num_shared, num_own):
    model = build(num_experts=num_experts, num_cross_experts=num_shared)
    assert len(model.shared_experts) == num_shared
    assert [len(experts) for experts in model.own_experts] == [num_own, num_own, 0, num_own]


@pytest.mark.parametrize("domain", range(4))
def test_a_domain_trains_the_shared_experts_and_its_own_and_no_others(domain):
    model = build(num_experts=9, num_cross_experts=1)
    _, batch, rows = encode(model)
    (rows * torch.linspace(-1, 1, rows.numel()).view_as(rows))[batch.domains == domain].sum().backward()
    assert learns(model.shared_experts) == [True]
    for owner in OWNERS:
        assert learns(model.own_experts[owner]) == [owner == domain] * 2


@pytest.mark.parametrize("owner", OWNERS)
def test_own_experts_answer_for_their_domain_alone(owner):
    model = build().eval()
    _, batch, before = encode(model)
    with torch.no_grad():
        model.own_experts[owner][0].norm.weight.mul_(1.5)
    moved = (before != encode(model)[2]).any(1)
    assert set(batch.domains[moved].tolist()) == {owner}


def test_gates_sum_to_one_over_what_the_domain_has():
    model = build()
    embedding = torch.randn(4, model.config.dim, generator=torch.Generator().manual_seed(0))
    weights = model.gate_weights(embedding, torch.arange(4))
    assert weights.shape == (4, 3)
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    assert (weights[list(OWNERS)] > 0).all()
    assert weights[2, 2] == 0


def slow_answers(model, history):
    """y_d for every event of `history`: one expert, one position, one gate at a time."""
    network = ReferenceNetwork(model)
    sequence = network.cross_embeddings(history[:-1])
    answers = []
    for t, target in enumerate(history):
        domain, maps = network.domain_of(target), model.gates.maps
        experts = [*model.shared_experts, *model.own_experts[domain]]
        first = domain * model.gates.num_experts
        gate = softmax([maps.weight[first + k] @ sequence[t] + maps.bias[first + k] for k in range(len(experts))])
        h = sum(gate[k] * network.expert(expert, sequence)[t] for k, expert in enumerate(experts))
        answers.append(network.tower(domain, h))
    return answers


def test_answers_and_gradients_equal_the_loops():
    model = build(num_experts=9, num_cross_experts=1)
    packed, _, rows = encode(model)
    fast = in_given_order(packed, rows)
    slow = torch.stack([answer for history in HISTORIES for answer in slow_answers(model, history)])
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    direction = torch.linspace(-1, 1, fast.numel()).view_as(fast)
    found, expected = (torch.autograd.grad((y * direction).sum(), list(model.parameters())) for y in (fast, slow))
    for have, want in zip(found, expected, strict=True):
        torch.testing.assert_close(have, want, atol=5e-5, rtol=2e-4)
