"""Frozen parts against the modules they are made of."""

import numpy as np
import pytest
import torch

from builders import DAY_S, FIRST_TIME, shake
from syncrec.models.frozen_parts import FrozenEmbedding, FrozenExperts, HistoryRows
from syncrec.nn.dropout import PooledDropout
from syncrec.nn.embedding import HistoryEmbedding, TimeEmbedding
from syncrec.nn.mixture import make_experts

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_experts_give_at_the_last_slots_what_each_expert_gives(count, num_heads):
    experts = make_experts(count, 8, 1, num_heads, 12, PooledDropout(0.5)).eval()
    shake(experts)
    torch.manual_seed(3)
    x, last = torch.randn(4, 5, 8), np.asarray([4, 0, 2, 3])
    mask = torch.full((5, 5), -torch.inf).triu(1).expand(4, 1, 5, 5)
    found = FrozenExperts(list(experts))(x.numpy(), last)
    with torch.no_grad():
        for number, expert in enumerate(experts):
            wanted = expert(x, mask)[torch.arange(4), torch.as_tensor(last)]
            torch.testing.assert_close(torch.from_numpy(found[number]), wanted, **CLOSE)


def test_experts_of_several_layers_are_refused():
    with pytest.raises(ValueError, match="experts of one layer can be frozen"):
        FrozenExperts(list(make_experts(2, 8, 2, 2, 12, PooledDropout(0.0))))


def embedded(gaps_s, times=True):
    """A history with these times between events, by the module and frozen."""
    edges = [FIRST_TIME + DAY_S * day for day in range(1, 32)]
    dropout = PooledDropout(0.0)
    time = TimeEmbedding(8, 32, edges) if times else None
    embedding = HistoryEmbedding(40, 3, len(gaps_s) + 1, 8, dropout, time).eval()
    shake(embedding)
    length = len(gaps_s) + 2
    moments = np.concatenate([[0], FIRST_TIME + np.cumsum([0, *gaps_s])])[None]
    tokens, domains = (np.arange(length) % 40)[None], (np.arange(length) % 3)[None]
    found = FrozenEmbedding.of(embedding)(HistoryRows(tokens, domains, moments, np.asarray([length - 1])))
    with torch.no_grad():
        arrays = (torch.as_tensor(array) for array in (tokens, domains, np.arange(length)[None], moments))
        return torch.from_numpy(found), embedding(*arrays)


@pytest.mark.parametrize("times", [True, False])
def test_the_embedding_is_that_of_the_module(times):
    found, wanted = embedded([0, 5, 61, DAY_S, 30 * DAY_S, 0], times)
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_a_gap_gets_the_code_of_the_module_around_every_doubling():
    """In the module's arithmetic, whose rounding the frozen embedding must share."""
    doublings = [round(60 * (2.0**power - 1)) for power in range(26)]
    found, wanted = embedded(
        [second + shift for second in doublings for shift in (-1, 0, 1, 2, 7) if second + shift >= 0]
    )
    torch.testing.assert_close(found, wanted, **CLOSE)


def test_an_event_before_the_one_before_it_has_no_gap():
    torch.testing.assert_close(*embedded([5, -70, 100]), **CLOSE)
