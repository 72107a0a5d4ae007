import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncrec.stats import RatioSums, difference_of_rates, log_ratio_of_rates


def random_users(num_users=300, rate=0.2, seed=0):
    rng = np.random.default_rng(seed)
    views = rng.poisson(5, num_users)
    return rng.binomial(views, rng.beta(rate * 5, (1 - rate) * 5, num_users)).astype(float), views.astype(float)


def test_variance_by_hand():
    sums = RatioSums.of_units(np.array([1.0, 0.0, 2.0]), np.array([2.0, 1.0, 3.0]))
    residuals = [1 - 1 / 2 * 2, 0 - 1 / 2 * 1, 2 - 1 / 2 * 3]
    assert sums.rate == 3 / 6
    assert sums.variance == pytest.approx(3 / 2 * sum(r**2 for r in residuals) / 6**2)


def test_one_view_a_user_gives_the_binomial_variance():
    clicks = np.array([1.0] * 30 + [0.0] * 70)
    assert RatioSums.of_units(clicks, np.ones(100)).variance == pytest.approx(0.3 * 0.7 / 99)


def test_standard_error_equals_that_of_resampled_users():
    clicks, views = random_users()
    picks = np.random.default_rng(1).integers(300, size=(4000, 300))
    resampled = clicks[picks].sum(axis=1) / views[picks].sum(axis=1)
    assert np.sqrt(RatioSums.of_units(clicks, views).variance) == pytest.approx(resampled.std(), rel=0.05)


def test_users_without_views_do_not_count():
    clicks, views = random_users()
    padded = RatioSums.of_units(np.append(clicks, [0.0] * 50), np.append(views, [0.0] * 50))
    assert padded == RatioSums.of_units(clicks, views)


def test_a_user_who_is_far_more_active_than_the_rest_leaves_few_effective_ones():
    alike = RatioSums.of_units(np.ones(200), np.full(200, 3.0))
    one_robot = RatioSums.of_units(np.ones(201), np.append(np.full(200, 3.0), 600.0))
    assert alike.effective_units == 200
    assert one_robot.effective_units == pytest.approx(1200**2 / (200 * 9 + 600**2))
    assert RatioSums.of_units(np.zeros(0), np.zeros(0)).effective_units == 0


@given(st.floats(0.05, 20))
def test_lift_is_of_the_same_certainty_in_any_unit(factor):
    clicks, views = random_users()
    treatment, control = (RatioSums.of_units(c, views) for c in (factor * clicks, clicks[::-1]))
    plain = log_ratio_of_rates(RatioSums.of_units(clicks, views), control)
    scaled = log_ratio_of_rates(treatment, control)
    assert scaled.error == pytest.approx(plain.error)
    assert scaled.value == pytest.approx(plain.value + np.log(factor))


def test_lift_and_difference_agree_on_a_small_effect():
    treatment, control = (RatioSums.of_units(*random_users(5000, rate, seed)) for rate, seed in ((0.21, 1), (0.2, 2)))
    lift, difference = log_ratio_of_rates(treatment, control), difference_of_rates(treatment, control)
    assert np.expm1(lift.value) == pytest.approx(difference.value / control.rate)
    assert lift.value / lift.error == pytest.approx(difference.value / difference.error, rel=0.05)


def test_what_cannot_be_known_has_an_infinite_error():
    nobody = RatioSums.of_units(np.zeros(0), np.zeros(0))
    somebody = RatioSums.of_units(np.array([1.0, 0.0]), np.ones(2))
    no_clicks = RatioSums.of_units(np.zeros(2), np.ones(2))
    assert (nobody.rate, nobody.variance) == (0, np.inf)
    assert difference_of_rates(somebody, nobody) == (0, np.inf)
    for control in (nobody, no_clicks):
        assert log_ratio_of_rates(somebody, control) == (0, np.inf)
