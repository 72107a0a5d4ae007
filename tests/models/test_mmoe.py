"""What MMoE asks beyond the contract: distinct shared experts, gate and tower of the target's domain."""

import pytest
import torch

from builders import catalogue_of, in_given_order, shake, small_model, training_batch
from reference.network import ReferenceNetwork, softmax
from syncrec.nn.gating import gated_sum

CATALOGUE = catalogue_of(5, 3, 7)
HISTORIES = [[0, 6, 1, 12, 8, 2, 5], [9, 7, 4], [3, 14, 13, 6]]
K = 3


def build(**model):
    model = small_model(CATALOGUE, name="mmoe", num_experts=K, **{"item_similarity": False, **model})
    shake(model)
    return model


def encode(model):
    packed, batch = training_batch(CATALOGUE, HISTORIES, 6)
    return packed, batch, model.encode(batch)["cross"]


def changed_domains(model, change):
    """Domains whose answers differ after `change` moved parameters in place."""
    _, batch, before = encode(model.eval())
    with torch.no_grad():
        change()
    moved = (before != encode(model)[2]).any(1)
    return set(batch.domains[moved].tolist())


def test_experts_are_distinct_objects_with_distinct_memory_and_values():
    model = small_model(CATALOGUE, name="mmoe", num_experts=K)
    assert len({id(expert) for expert in model.experts}) == K
    first, *others = [expert.blocks[0].query_key_value.weight for expert in model.experts]
    assert all(not torch.equal(first, other) and first.data_ptr() != other.data_ptr() for other in others)


@pytest.mark.parametrize("domain", range(3))
def test_gate_and_tower_of_a_domain_answer_for_its_targets_alone(domain):
    model = build()
    gate, towers = model.gates.maps.weight, model.towers
    assert changed_domains(model, lambda: gate[domain * K].add_(0.5)) == {domain}
    for part in (*towers.inner.parameters(), *towers.outer.parameters(), towers.scale, towers.shift):
        assert changed_domains(model, lambda part=part: part[domain].add_(0.5)) == {domain}


@pytest.mark.parametrize("domain", range(3))
def test_every_expert_learns_from_every_domain(domain):
    model = build()
    _, batch, rows = encode(model)
    (rows * torch.linspace(-1, 1, rows.numel()).view_as(rows))[batch.domains == domain].sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for expert in model.experts for parameter in expert.parameters())


def test_a_gated_sum_by_hand():
    outputs = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    assert gated_sum(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), outputs).tolist() == [[2.0, 3.0], [5.0, 6.0]]


def slow_answers(model, history):
    """y_d for every event of `history`: one expert, one position, one gate at a time."""
    network = ReferenceNetwork(model)
    sequence = network.cross_embeddings(history[:-1])
    outputs = [network.expert(expert, sequence) for expert in model.experts]
    answers = []
    for t, target in enumerate(history):
        domain, maps = network.domain_of(target), model.gates.maps
        rows = range(domain * K, (domain + 1) * K)
        gate = softmax([maps.weight[row] @ sequence[t] + maps.bias[row] for row in rows])
        answers.append(network.tower(domain, sum(gate[k] * outputs[k][t] for k in range(K))))
    return answers


def test_answers_and_gradients_equal_the_loops():
    model = build()
    packed, _, rows = encode(model)
    fast = in_given_order(packed, rows)
    slow = torch.stack([answer for history in HISTORIES for answer in slow_answers(model, history)])
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    direction = torch.linspace(-1, 1, fast.numel()).view_as(fast)
    found, expected = (torch.autograd.grad((y * direction).sum(), list(model.parameters())) for y in (fast, slow))
    for have, want in zip(found, expected, strict=True):
        torch.testing.assert_close(have, want, atol=5e-5, rtol=2e-4)
