import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, norm

from simulated_experiments import World, judged, misses, simulate_arm
from syncrec.stats import (
    Estimate,
    fixed_half_width,
    log_ratio_of_rates,
    mixture_scale,
    required_information,
    sample_ratio_p_value,
    sequential_half_width,
    sequential_p_value,
)

SCALE = mixture_scale(0.1)
LIFT = 0.214


@pytest.fixture(scope="module")
def without_lift():
    """Estimates by user, and by impression taken for independent, of 400 experiments in which nothing is changed."""
    rng = np.random.default_rng(7)
    control, treatment = (simulate_arm(World(num_users=300), 0.0, rng) for _ in range(2))
    return [log_ratio_of_rates(*pair) for pair in zip(treatment, control, strict=True)]


@pytest.fixture(scope="module")
def with_lift():
    """The estimate by user of 200 experiments with a lift of 21.4 %."""
    rng = np.random.default_rng(8)
    world = World(num_experiments=200, num_users=2000, num_days=14, concentration=40, join_over_days=7)
    return log_ratio_of_rates(*(simulate_arm(world, lift, rng)[0] for lift in (LIFT, 0.0)))


def test_daily_looks_raise_a_false_alarm_in_fewer_than_one_experiment_of_twenty(without_lift):
    by_user, _ = without_lift
    for scale in (mixture_scale(0.05), SCALE, mixture_scale(0.3)):
        alarms = misses(by_user, 0.0, sequential_half_width(by_user.error, scale)).any(axis=1)
        assert alarms.sum() < 0.05 * 400


def test_a_fixed_test_looked_at_daily_raises_many(without_lift):
    by_user, _ = without_lift
    alarms = misses(by_user, 0.0, fixed_half_width(by_user.error))
    assert alarms[:, -1].mean() < 0.1
    assert alarms.any(axis=1).mean() > 0.15


def test_impressions_taken_for_independent_ruin_the_sequential_test_too(without_lift):
    _, by_view = without_lift
    assert misses(by_view, 0.0, sequential_half_width(by_view.error, SCALE)).any(axis=1).mean() > 0.2


@pytest.mark.parametrize("pattern", ["once", "change", "robots", "heavy"])
def test_no_pattern_of_visits_raises_more_false_alarms(pattern):
    rng = np.random.default_rng(9)
    world = World(num_experiments=200, num_users=300, num_days=15, join_over_days=15, pattern=pattern)
    arms = [simulate_arm(world, 0.0, rng)[0] for _ in range(2)]
    estimate = log_ratio_of_rates(*arms)
    alarms = misses(estimate, 0.0, sequential_half_width(estimate.error, mixture_scale(0.3))) & judged(*arms)
    assert alarms.any(axis=1).mean() <= 0.05


def test_a_lift_is_found_and_lies_in_the_interval_at_every_look(with_lift):
    half_width = sequential_half_width(with_lift.error, SCALE)
    assert misses(with_lift, math.log1p(LIFT), half_width).any(axis=1).mean() <= 0.05
    found = with_lift.value > half_width
    assert found[:, -1].mean() > 0.9


def test_half_width_is_that_of_the_paper():
    t, rho, alpha, deviation = 500, 0.3, 0.05, 2.0
    paper = deviation * math.sqrt(2 * (t * rho**2 + 1) / (t**2 * rho**2) * math.log(math.sqrt(t * rho**2 + 1) / alpha))
    error = deviation / math.sqrt(t)
    assert sequential_half_width(np.array(error), rho * deviation) == pytest.approx(paper)


@given(st.floats(-5, 5), st.floats(0.05, 2), st.floats(0.05, 2))
def test_p_value_is_one_over_the_mixtures_likelihood_ratio(z, error, scale):
    effects = scale * np.linspace(-9, 9, 200_001)
    likelihood_ratios = np.exp(z * effects / error - (effects / error) ** 2 / 2)
    ratio = np.trapezoid(likelihood_ratios * norm.pdf(effects, 0, scale), effects)
    found = sequential_p_value(Estimate(np.array(z * error), np.array(error)), scale)
    assert found == pytest.approx(min(1, 1 / ratio), rel=1e-4)


@given(st.floats(0, 5), st.floats(0.05, 2), st.floats(0.01, 2), st.sampled_from([0.8, 0.95, 0.99]))
def test_p_value_is_below_alpha_where_the_interval_excludes_zero(value, error, scale, confidence):
    half_width = sequential_half_width(np.array(error), scale, confidence)
    p_value = sequential_p_value(Estimate(np.array(value), np.array(error)), scale)
    if abs(value - half_width) > 1e-9:
        assert (value > half_width) == (p_value < 1 - confidence)


def test_unknown_errors_give_infinite_intervals_and_no_evidence():
    nothing = Estimate(np.array(0.0), np.array(np.inf))
    assert sequential_half_width(nothing.error, SCALE) == np.inf
    assert sequential_p_value(nothing, SCALE) == 1


def test_scale_is_the_best_one_where_the_effect_is_about_to_be_found():
    error = 1 / math.sqrt(required_information(0.1, SCALE))
    widths = [float(sequential_half_width(np.array(error), factor * SCALE)) for factor in (0.8, 1.0, 1.25)]
    assert widths[1] == min(widths)


def test_required_information_gives_the_power_that_was_asked_for():
    error = 1 / math.sqrt(required_information(0.1, SCALE, power=0.8))
    half_width = float(sequential_half_width(np.array(error), SCALE))
    assert norm.sf((half_width - 0.1) / error) == pytest.approx(0.8, abs=1e-6)


def test_always_valid_intervals_cost_less_than_twice_the_users_of_a_fixed_test():
    fixed = (norm.ppf(0.975) + norm.ppf(0.8)) ** 2 / 0.1**2
    assert fixed < required_information(0.1, SCALE) < 2 * fixed


def test_sample_ratio_p_value_is_scipys_chi_square():
    counts, shares = [480, 260, 260], [0.5, 0.25, 0.25]
    expected = chisquare(counts, [500, 250, 250]).pvalue
    assert sample_ratio_p_value(counts, shares) == pytest.approx(expected)
    assert sample_ratio_p_value(counts, [2.0, 1.0, 1.0]) == pytest.approx(expected)
    assert sample_ratio_p_value([0, 0, 0], shares) == 1
