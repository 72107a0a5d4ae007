"""The adjustment by what units did before: unbiased, honest about its error, narrower where behaviour lasts."""

import math

import numpy as np
import pytest

from syncrec.stats import (
    CovariateSums,
    Past,
    adjusted_log_ratio,
    log_ratio_of_rates,
    mixture_scale,
    sequential_half_width,
)

NUM_EXPERIMENTS, NUM_USERS, NUM_DAYS = 300, 800, 6


def simulate(lift, lasting=True, seed=0):
    """One past and many ways to share its users out and go on: (past, sums by arm with an axis of days).

    Users have a click rate and an activity of their own, before and after; if nothing lasts, new ones after. Half of
    the users are new.
    """
    rng = np.random.default_rng(seed)
    rates, activity = rng.beta(1.0, 9.0, 2 * NUM_USERS), rng.gamma(2.0, 6.0, 2 * NUM_USERS)
    is_known = np.arange(2 * NUM_USERS) % 2 == 0
    x = rng.poisson(np.where(is_known, activity, 0), (2, 2 * NUM_USERS)).astype(float)
    y = rng.binomial(x.astype(int), rates).astype(float)
    was_here = x.sum(axis=0) > 0
    past = Past.of_halves(y[:, was_here], x[:, was_here])
    scores = np.zeros(2 * NUM_USERS)
    scores[was_here] = past.scores
    if not lasting:
        rates, activity = rng.permutation(rates), rng.permutation(activity)
    order = np.stack([rng.permutation(2 * NUM_USERS) for _ in range(NUM_EXPERIMENTS)])
    arms = (order[:, :NUM_USERS], order[:, NUM_USERS:])
    return past, [
        by_day(rng, rates[u] * (1 + extra), activity[u], scores[u]) for u, extra in zip(arms, (lift, 0.0), strict=True)
    ]


def by_day(rng, rates, activity, scores):
    views, clicks, days = np.zeros_like(rates), np.zeros_like(rates), []
    for _ in range(NUM_DAYS):
        new = rng.poisson(activity / NUM_DAYS)
        views, clicks = views + new, clicks + rng.binomial(new, rates)
        days.append(CovariateSums.of_units(clicks, views, scores))
    return days


def at_the_end(arms, weight):
    return adjusted_log_ratio(arms[0][-1], arms[1][-1], weight)


def plain_at_the_end(arms):
    return log_ratio_of_rates(arms[0][-1].ratio, arms[1][-1].ratio)


def check_unbiased(estimate, truth):
    assert abs(estimate.value.mean() - truth) < 3 * estimate.value.std() / math.sqrt(NUM_EXPERIMENTS)


@pytest.fixture(scope="module", params=[0.0, 0.15])
def lifted(request):
    return request.param, *simulate(request.param)


def test_it_is_unbiased_and_knows_its_error(lifted):
    lift, past, arms = lifted
    adjusted = at_the_end(arms, past.weight)
    check_unbiased(adjusted, math.log1p(lift))
    assert adjusted.value.std() == pytest.approx(adjusted.error.mean(), rel=0.15)


def test_it_is_narrower_where_behaviour_lasts(lifted):
    _, past, arms = lifted
    assert past.weight > 0.5
    adjusted, plain = at_the_end(arms, past.weight), plain_at_the_end(arms)
    assert (adjusted.error < plain.error).all()
    assert (adjusted.error**2 / plain.error**2).mean() < 0.8
    assert adjusted.value.std() < 0.95 * plain.value.std()


def test_a_wrong_weight_costs_width_and_no_truth():
    """The past says nothing of what comes: still right in the mean, and the error says how wide it became."""
    _, arms = simulate(0.15, lasting=False, seed=1)
    adjusted, plain = at_the_end(arms, 1.0), plain_at_the_end(arms)
    check_unbiased(adjusted, math.log1p(0.15))
    assert adjusted.value.std() == pytest.approx(adjusted.error.mean(), rel=0.15)
    assert adjusted.error.mean() > plain.error.mean()


def test_a_past_of_pure_chance_gets_hardly_any_weight():
    rng = np.random.default_rng(0)
    x = rng.poisson(10.0, (2, 5000)).astype(float)
    assert Past.of_halves(rng.binomial(x.astype(int), 0.1).astype(float), x).weight < 0.1


def test_without_scores_or_weight_nothing_changes():
    _, arms = simulate(0.15)
    nothing = [[CovariateSums(day.ratio, *(0 * day.v for _ in range(4))) for day in arm] for arm in arms]
    for adjusted in (at_the_end(arms, 0.0), at_the_end(nothing, 1.0)):
        plain = plain_at_the_end(arms)
        np.testing.assert_allclose(adjusted.value, plain.value)
        np.testing.assert_allclose(adjusted.error, plain.error)


@pytest.mark.parametrize("lift", [0.0, 0.15])
def test_the_interval_holds_at_all_looks_together(lift):
    past, arms = simulate(lift, seed=2)
    scale, missed = mixture_scale(math.log1p(0.1)), np.zeros(NUM_EXPERIMENTS, dtype=bool)
    for treatment, control in zip(*arms, strict=True):
        estimate = adjusted_log_ratio(treatment, control, past.weight)
        missed |= abs(estimate.value - math.log1p(lift)) > sequential_half_width(estimate.error, scale)
    assert missed.mean() <= 0.05


def test_the_variance_is_that_of_what_single_units_add():
    rng = np.random.default_rng(3)
    x = rng.poisson(5.0, 400).astype(float) * (rng.random(400) < 0.8)
    y, v = rng.binomial(x.astype(int), 0.3).astype(float), rng.normal(size=400)
    sums, here = CovariateSums.of_units(y, x, v), x > 0
    rate, count = y.sum() / x.sum(), here.sum()
    parts = ((y - rate * x) / (x[here].mean() * rate) - 0.4 * (v - v[here].mean()))[here]
    wanted = (parts**2).sum() / (count - 1) / count
    plain = sums.ratio.variance / sums.ratio.rate**2
    assert plain + sums.change_of_variance(0.4) == pytest.approx(wanted)


@pytest.mark.parametrize("shape", [(2, 0), (2, 5)])
def test_a_past_without_clicks_has_no_weight(shape):
    past = Past.of_halves(np.zeros(shape), np.ones(shape))
    assert past.weight == 0
    assert past.scores.tolist() == [0.0] * shape[1]
