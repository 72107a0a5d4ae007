import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference.objective import mutual_information as looped
from syncrec.losses.mutual_information import MutualInformation, choose_anchors
from syncrec.parallel import PendingRows


def anchors(counts, dim=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    cross, single = (torch.randn(sum(counts), dim, generator=generator, requires_grad=True) for _ in range(2))
    return cross, single, torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def information(module, cross, single, domains):
    counts = torch.bincount(domains, minlength=len(module.discriminator))
    return module(cross, PendingRows(single, [len(single)]), counts[None])


@pytest.mark.parametrize("counts", [[3, 4], [1, 1], [0, 5, 2], [6]])
def test_loss_and_gradients_equal_the_loop(counts):
    cross, single, domains = anchors(counts)
    loss = MutualInformation(len(counts), 8)
    with torch.no_grad():
        loss.discriminator.normal_(generator=torch.Generator().manual_seed(1))
    pairs = [[(cross[i], single[i]) for i in (domains == d).nonzero().flatten()] for d in range(len(counts))]
    expected, found = looped(loss.discriminator, pairs), information(loss, cross, single, domains)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    leaves = (cross, single, loss.discriminator)
    if expected.requires_grad:
        for have, want in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(expected, leaves), strict=True):
            torch.testing.assert_close(have, want, atol=1e-5, rtol=1e-5)


def test_a_user_alone_in_a_domain_costs_nothing():
    cross, single, domains = anchors([1, 1, 1])
    assert float(information(MutualInformation(3, 8), cross, single, domains).detach()) == pytest.approx(0, abs=1e-6)


def test_untold_pairs_cost_the_logarithm_of_the_users():
    cross, single, domains = anchors([5])
    assert float(information(MutualInformation(1, 8), cross * 0, single, domains).detach()) == pytest.approx(1.6094379)


def test_users_of_another_domain_are_no_negatives():
    cross, single, domains = anchors([3, 3])
    loss = MutualInformation(2, 8)
    before = information(loss, cross, single, domains)
    moved = single.detach().clone()
    moved[3:] = moved[3:].flip(0)
    own = information(loss, cross[:3], single[:3], domains[:3])
    other = information(loss, cross[3:], moved[3:], domains[3:])
    torch.testing.assert_close(information(loss, cross, moved, domains), own + other)
    assert not torch.allclose(before, own + other)


def luck(count, seed):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60), st.integers(0, 100))
def test_one_anchor_for_every_user_and_domain_in_ascending_order(pairs, seed):
    pairs = sorted(pairs, key=lambda p: p[1])
    users, domains = torch.tensor(pairs).T
    chosen = choose_anchors(users, domains, luck(len(users), seed))
    assert (chosen.diff() > 0).all()
    assert sorted(pairs[i] for i in chosen.tolist()) == sorted(set(pairs))


def test_every_target_is_chosen_equally_often():
    users, domains = torch.tensor([0, 1, 0, 0, 1]), torch.tensor([0, 0, 0, 0, 1])
    chosen = torch.cat([choose_anchors(users, domains, luck(5, s)) for s in range(900)])
    counts = torch.bincount(chosen, minlength=5).tolist()
    assert counts[1] == counts[4] == 900
    assert all(240 < counts[i] < 360 for i in (0, 2, 3))
