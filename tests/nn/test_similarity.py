"""What the items of a history say by themselves: a decaying mean, against loops; nothing of later events."""

import math

import pytest
import torch

from syncrec.nn.packed import block_causal_mask
from syncrec.nn.similarity import ItemSimilarity

DIM, TASKS = 6, 3
POSITIONS = torch.tensor([[0, 1, 2, 3, 0, 1], [0, 1, 2, 0, 0, 1]])
SEGMENTS = torch.tensor([[0, 0, 0, 0, 1, 1], [2, 2, 2, -1, 3, 3]])
SLOTS = torch.tensor([0, 1, 3, 4, 5, 6, 8, 11])
TASKS_ASKED = torch.tensor([0, 0, 1, 2, 2, 0, 1, 1])


def mask():
    allowed = block_causal_mask(SEGMENTS)
    return torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)


def part(dropout=0.0):
    found = ItemSimilarity(TASKS, dropout)
    with torch.no_grad():
        found.weight.copy_(torch.tensor([[0.5], [1.5], [-2.0]]))
        found.shift.copy_(torch.tensor([-1.0, 0.3, 2.0]))
    return found


def vectors():
    return torch.randn(2, 6, DIM, generator=torch.Generator().manual_seed(0))


def asked(module, table, slots=SLOTS, tasks=TASKS_ASKED):
    return module(table, POSITIONS > 0, POSITIONS, mask(), slots, tasks)


def slow(module, table, slot, task):
    """The events of the slot's segment up to itself, one by one."""
    row, place = divmod(slot, 6)
    rate = math.log1p(math.exp(module.shift[task].item()))
    total, weights = torch.zeros(DIM), 0.0
    for other in range(place + 1):
        if SEGMENTS[row, other] == SEGMENTS[row, place] and POSITIONS[row, other] > 0:
            weight = math.exp(-rate * int(POSITIONS[row, place] - POSITIONS[row, other]))
            total, weights = total + weight * table[row, other], weights + weight
    return module.weight[task] * total / weights if weights else total


@pytest.mark.parametrize("slots", [SLOTS, SLOTS[[2, 4]]])
def test_it_is_a_decaying_mean_of_the_events_so_far(slots):
    module, table = part().eval(), vectors()
    tasks = TASKS_ASKED[: len(slots)]
    expected = torch.stack([slow(module, table, *pair) for pair in zip(slots.tolist(), tasks.tolist(), strict=True)])
    torch.testing.assert_close(asked(module, table, slots, tasks), expected)


def test_without_an_event_it_is_zero_and_has_a_finite_gradient():
    module, table = part(), vectors().requires_grad_()
    out = asked(module, table)
    assert not out[[0, 3, 5]].any()
    out.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (*module.parameters(), table))


def test_many_events_ago_and_a_sharp_decay_do_no_harm():
    module = part()
    with torch.no_grad():
        module.shift.fill_(200.0)
    length = 80
    positions, allowed = torch.arange(length)[None], torch.ones(1, length, length).tril().bool()
    is_item = positions == 1
    out = module(
        torch.ones(1, length, DIM),
        is_item,
        positions,
        torch.zeros(1, 1, length, length).masked_fill(~allowed, -torch.inf),
        torch.tensor([79]),
        torch.tensor([0]),
    )
    torch.testing.assert_close(out, torch.full((1, DIM), 0.5))


def test_events_are_left_out_in_training_alone():
    module, table = part(dropout=0.5), vectors()
    torch.manual_seed(0)
    drawn = [asked(module, table) for _ in range(20)]
    assert len({tuple(out[2].tolist()) for out in drawn}) > 3
    assert torch.equal(asked(module.eval(), table), asked(part(), table))


def test_it_begins_with_the_decay_of_item_knn():
    module = ItemSimilarity(1, 0.0)
    torch.testing.assert_close(torch.exp(-torch.nn.functional.softplus(module.shift)), torch.tensor([0.7]))
