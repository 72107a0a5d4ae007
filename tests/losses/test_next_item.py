import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from syncrec.config import LossConfig
from syncrec.losses.next_item import NegativeSampler, NextItemLoss, Targets

OFFSETS = (0, 6, 7, 27)
COUNTS = np.asarray([5, 0, 3, 1, 0, 0, 4, *range(20)])


def make_loss(offsets=OFFSETS, counts=COUNTS, **config):
    settings = LossConfig(**config)
    return NextItemLoss(settings, offsets, NegativeSampler(offsets, counts, settings.negatives))


def questions(seed=0, answers=2, dim=8):
    """(queries [N, A, dim], items, targets) with 4, 2 and 5 targets in three domains."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor([4, 2, 5])
    domains = torch.repeat_interleave(torch.arange(3), counts)
    chosen = torch.tensor([0, 5, 2, 2, 6, 6, 7, 26, 13, 9, 20])
    queries = torch.randn(11, answers, dim, generator=generator)
    items = torch.randn(27, dim, generator=generator)
    return queries.requires_grad_(), items.requires_grad_(), Targets(chosen, domains, counts)


def vectors_of(items):
    """What a model's `item_vectors` gives for a plain table."""
    return lambda index=None: items if index is None else items[index]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def full(queries, items, targets):
    rows = []
    for n, item in enumerate(targets.items.tolist()):
        start, stop = OFFSETS[targets.domains[n] :][:2]
        rows.append([F.cross_entropy(items[start:stop] @ y, torch.tensor(item - start)) for y in queries[n]])
    return torch.stack([torch.stack(row) for row in rows])


@pytest.mark.parametrize("answers", [1, 2, 3])
def test_full_loss_is_the_cross_entropy_over_the_domain(answers):
    queries, items, targets = questions(answers=answers)
    found = make_loss(kind="full")(queries, vectors_of(items), targets, generator())
    assert found.shape == (11, answers)
    torch.testing.assert_close(found, full(queries, items, targets), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("negatives", ["uniform", "popularity"])
def test_sampled_loss_equals_its_formula_draw_by_draw(negatives):
    queries, items, targets = questions()
    loss = make_loss(kind="sampled", num_negatives=8, negatives=negatives)
    drawn = loss.sampler.draw(torch.arange(3), 8, generator(3))
    found = loss(queries, vectors_of(items), targets, generator(3)).detach()
    for n, item in enumerate(targets.items.tolist()):
        domain = int(targets.domains[n])
        start, stop = OFFSETS[domain : domain + 2]
        weights = np.ones(stop - start) if negatives == "uniform" else COUNTS[start:stop] + 1
        for answer in range(2):
            score = {x: float((queries[n, answer] @ items[x]).detach()) for x in range(start, stop)}
            others = [x for x in drawn[domain].tolist() if x != item]
            total = math.exp(score[item])
            total += sum(math.exp(score[x]) / (8 * weights[x - start] / weights.sum()) for x in others)
            assert float(found[n, answer]) == pytest.approx(math.log(total) - score[item], abs=1e-4)


@pytest.mark.parametrize("negatives", ["uniform", "popularity"])
def test_sampled_loss_becomes_the_full_loss_with_many_negatives(negatives):
    queries, items, targets = questions()
    queries = queries.detach() / 2
    loss = make_loss(kind="sampled", num_negatives=200_000, negatives=negatives)
    found = loss(queries, vectors_of(items), targets, generator())
    torch.testing.assert_close(found, full(queries, items, targets), atol=0.03, rtol=0)


def test_sampled_normaliser_is_unbiased():
    """The mean over draws of e^(loss + s+) - e^s+ is the sum over the other items, whatever the draws' frequencies."""
    queries, items, targets = questions(answers=1)
    queries = queries.detach() / 2
    loss = make_loss(kind="sampled", num_negatives=16, negatives="popularity")
    positive = (queries[:, 0] * items[targets.items]).sum(1)
    sums = [torch.exp(loss(queries, vectors_of(items), targets, generator(s))[:, 0] + positive) for s in range(500)]
    exact = torch.exp(full(queries, items, targets)[:, 0] + positive)
    torch.testing.assert_close(torch.stack(sums).mean(0), exact, rtol=0.05, atol=0)


def test_sampled_loss_of_a_one_item_catalogue_is_zero_with_finite_gradients():
    queries, items, targets = questions()
    found = make_loss(kind="sampled", num_negatives=5)(queries, vectors_of(items), targets, generator())
    assert torch.equal(found[4:6], torch.zeros(2, 2))
    gradients = torch.autograd.grad(found.sum(), (queries, items))
    assert all(torch.isfinite(g).all() for g in gradients)
    assert torch.equal(gradients[0][4:6], torch.zeros(2, 2, 8))


def log_sigmoid(score):
    return -math.log1p(math.exp(-score))


@pytest.mark.parametrize(("kind", "calibration"), [("bce", 0.75), ("gbce", 0.0), ("gbce", 0.75), ("gbce", 1.0)])
def test_binary_losses_equal_their_formula_target_by_target(kind, calibration):
    """gBCE, Petrov and Macdonald 2023: -beta log sigmoid(s+) - sum of log(1 - sigmoid(s-))."""
    queries, items, targets = questions()
    loss = make_loss(kind=kind, num_negatives=3, gbce_calibration=calibration)
    drawn = loss.sampler.draw(targets.domains, 3, generator(3))
    found = loss(queries, vectors_of(items), targets, generator(3)).detach()
    for n, item in enumerate(targets.items.tolist()):
        size = OFFSETS[targets.domains[n] + 1] - OFFSETS[targets.domains[n]]
        alpha = min(1.0, 3 / max(size - 1, 1))
        beta = 1.0 if kind == "bce" else alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
        for answer in range(2):
            y, table = queries[n, answer].detach(), items.detach()
            expected = -beta * log_sigmoid(float(y @ table[item]))
            expected -= sum(log_sigmoid(-float(y @ table[x])) for x in drawn[n].tolist() if x != item)
            assert float(found[n, answer]) == pytest.approx(expected, abs=1e-5)


def test_gbce_without_calibration_is_bce():
    queries, items, targets = questions()
    bce = make_loss(kind="bce", num_negatives=3)(queries, vectors_of(items), targets, generator(1))
    gbce = make_loss(kind="gbce", num_negatives=3, gbce_calibration=0.0)(
        queries, vectors_of(items), targets, generator(1)
    )
    torch.testing.assert_close(gbce, bce)


@pytest.mark.parametrize("kind", ["full", "sampled", "bce", "gbce"])
def test_each_loss_raises_the_target_and_lowers_other_items_of_its_domain_alone(kind):
    _, _, targets = questions()
    scores = torch.zeros(11, 1, 27, requires_grad=True)  # with unit vectors as items, a query is its row of scores
    loss = make_loss(kind=kind, num_negatives=4)(scores, vectors_of(torch.eye(27)), targets, generator())
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    for row, item, domain in zip(gradient[:, 0], targets.items.tolist(), targets.domains.tolist(), strict=True):
        start, stop = OFFSETS[domain : domain + 2]
        others = torch.cat([row[start:item], row[item + 1 : stop]])
        assert row[item] < 0 or (stop - start == 1 and kind in ("full", "sampled"))
        assert (others >= 0).all()
        assert stop - start == 1 or others.sum() > 0
        assert row[:start].abs().sum() == row[stop:].abs().sum() == 0


@pytest.mark.parametrize("kind", ["sampled", "bce", "gbce"])
def test_the_same_generator_gives_the_same_loss(kind):
    queries, items, targets = questions()
    loss = make_loss(kind=kind, num_negatives=4)
    first, again, other = (loss(queries, vectors_of(items), targets, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", ["uniform", "popularity"])
def test_negatives_come_from_the_domain_asked(kind):
    sampler = NegativeSampler(OFFSETS, COUNTS, kind)
    domains = torch.tensor([2, 0, 1, 2])
    drawn = sampler.draw(domains, 5000, generator())
    for row, domain in zip(drawn, domains.tolist(), strict=True):
        assert row.min() >= OFFSETS[domain]
        assert row.max() < OFFSETS[domain + 1]
        assert row.unique().numel() == OFFSETS[domain + 1] - OFFSETS[domain]


@pytest.mark.parametrize("kind", ["uniform", "popularity"])
def test_negatives_are_drawn_as_often_as_the_sampler_says(kind):
    sampler = NegativeSampler(OFFSETS, COUNTS, kind)
    for domain in range(3):
        start, stop = OFFSETS[domain : domain + 2]
        weights = np.ones(stop - start) if kind == "uniform" else COUNTS[start:stop] + 1.0
        probability = weights / weights.sum()
        np.testing.assert_allclose(sampler.log_probability[start:stop].exp(), probability, rtol=1e-5)
        drawn = sampler.draw(torch.tensor([domain]), 100_000, generator(domain))[0] - start
        found = np.bincount(drawn.numpy(), minlength=stop - start) / 100_000
        np.testing.assert_allclose(found, probability, atol=5 * np.sqrt(probability.max() / 100_000))


@pytest.mark.parametrize("kind", ["uniform", "popularity"])
@pytest.mark.parametrize("value", [0.0, 1.0 - 2**-53])
def test_the_extreme_draws_stay_inside_the_domain(kind, value, monkeypatch):
    sampler = NegativeSampler(OFFSETS, COUNTS, kind)
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, value, dtype=torch.float64))
    for domain in range(3):
        drawn = int(sampler.draw(torch.tensor([domain]), 1, generator())[0, 0])
        assert drawn == (OFFSETS[domain] if value == 0 else OFFSETS[domain + 1] - 1)
