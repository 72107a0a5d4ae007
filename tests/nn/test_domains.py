import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from syncrec.nn.domains import domain_means, info_nce, one_of_each


def luck(count, seed):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))


def test_means_by_domain_and_zero_for_an_absent_one():
    means = domain_means(
        torch.tensor([1.0, 3.0, 5.0, 7.0]), torch.tensor([0, 0, 2, 2]), counts=torch.tensor([2, 0, 2, 0])
    )
    assert means.tolist() == [2.0, 0.0, 6.0, 0.0]


def test_means_of_several_answers_at_once():
    means = domain_means(torch.tensor([[1.0, 10.0], [3.0, 30.0]]), torch.tensor([1, 1]), counts=torch.tensor([0, 2]))
    assert means.tolist() == [[0.0, 0.0], [2.0, 20.0]]


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 100))
def test_one_entry_of_every_value_in_ascending_order(keys, seed):
    chosen = one_of_each(torch.tensor(keys, dtype=torch.int64), luck(len(keys), seed)).tolist()
    assert chosen == sorted(chosen)
    assert sorted(keys[i] for i in chosen) == sorted(set(keys))


def test_every_entry_of_a_value_is_drawn_equally_often():
    keys = torch.tensor([7, 3, 7, 7])
    chosen = torch.cat([one_of_each(keys, luck(4, s)) for s in range(900)])
    counts = torch.bincount(chosen, minlength=4).tolist()
    assert counts[1] == 900
    assert all(240 < counts[i] < 360 for i in (0, 2, 3))


@pytest.mark.parametrize("domains", [[0, 0, 0], [0, 1, 1, 3], [2]])
def test_info_nce_equals_the_loop(domains):
    scores = torch.randn(len(domains), len(domains), generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for domain in set(domains):
        rows = [i for i, d in enumerate(domains) if d == domain]
        losses = [math.log(sum(math.exp(scores[i, j]) for j in rows)) - float(scores[i, i]) for i in rows]
        expected += sum(losses) / len(losses)
    found = info_nce(scores, torch.tensor(domains), torch.bincount(torch.tensor(domains), minlength=4))
    assert float(found) == pytest.approx(expected, abs=1e-5)
