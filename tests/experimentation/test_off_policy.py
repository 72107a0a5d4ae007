"""Estimates against the truth, on bandits that are simulated with known click probabilities."""

from dataclasses import replace

import numpy as np
import pytest

from syncrec.experimentation.off_policy import Decisions, check_weights, estimate_policy

NUM_USERS, NUM_ITEMS, VISITS = 150, 12, 8
ESTIMATORS = ("IPS", "SNIPS", "DR")


def softmax(scores):
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


class World:
    """Groups of users with scores of items; the log shows by one softmax, the new policy by a sharper one."""

    def __init__(self):
        rng = np.random.default_rng(3)
        self.scores = rng.normal(0, 1, (4, NUM_ITEMS))
        self.logging = softmax(self.scores * 0.5)
        self.target = softmax(self.scores * 1.5)
        self.appeal = np.exp(0.5 * self.scores + rng.normal(0, 0.3, self.scores.shape))
        self.click_rate = 0.05

    @property
    def true_rate(self):
        """CTR of the new policy: users of all groups are alike in number, and in their own rates' mean."""
        return float((self.target * self.appeal).sum(axis=1).mean() * self.click_rate)

    def log(self, rng, num_users=NUM_USERS):
        """Decisions of `num_users` users, each with a click rate of their own, and a direct model that is wrong."""
        rates = rng.beta(2, 2 / self.click_rate - 2, num_users)
        users = np.repeat(np.arange(num_users), VISITS)
        groups = (np.arange(num_users) % 4)[users]
        draws = rng.random((len(users), 1))
        items = (draws > self.logging[groups].cumsum(axis=1)).sum(axis=1).clip(max=NUM_ITEMS - 1)
        clicked = rng.random(len(users)) < np.minimum(rates[users] * self.appeal[groups, items], 1)
        guess = 0.04 * self.appeal.mean(axis=0)  # knows neither groups nor users
        return Decisions(
            users,
            clicked.astype(float),
            self.logging[groups, items],
            self.target[groups, items],
            np.ones(len(users)),
            guess[items],
            self.target[groups] @ guess,
        )


WORLD = World()


@pytest.fixture(scope="module")
def runs():
    """Estimates of 200 simulated logs."""
    return [estimate_policy(WORLD.log(np.random.default_rng(seed), num_users=600)) for seed in range(200)]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_intervals_cover_the_truth_as_often_as_they_say(runs, estimator):
    covered = sum(run[estimator].ctr.low <= WORLD.true_rate <= run[estimator].ctr.high for run in runs)
    assert 0.91 <= covered / 200 <= 0.985  # 95 % and three standard errors of 200 draws, or a little less below


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimates_are_right_in_the_mean(runs, estimator):
    values = np.array([run[estimator].ctr.estimate for run in runs])
    assert values.mean() == pytest.approx(WORLD.true_rate, abs=3 * values.std() / np.sqrt(200))


def test_lift_covers_the_truth_too(runs):
    logged = (WORLD.logging * WORLD.appeal).sum(axis=1).mean() * WORLD.click_rate
    truth = WORLD.true_rate / logged - 1
    covered = [run["DR"].lift.low <= truth <= run["DR"].lift.high for run in runs]
    assert 0.91 <= np.mean(covered) <= 0.985


def test_the_logs_own_rate_would_mislead(runs):
    assert np.mean([run["logged"].ctr.high < WORLD.true_rate for run in runs]) > 0.8


def test_the_direct_model_and_the_normaliser_make_the_estimate_steadier(runs):
    spread = {name: np.std([run[name].ctr.estimate for run in runs]) for name in ESTIMATORS}
    assert spread["DR"] < spread["IPS"]
    assert spread["SNIPS"] < spread["IPS"]


def test_estimators_by_hand():
    decisions = Decisions(
        np.array([0, 0, 1]),
        np.array([1.0, 0, 1]),
        np.array([0.5, 0.25, 0.5]),
        np.array([1.0, 0.5, 0.25]),
        np.ones(3),
        np.array([0.5, 0.2, 0.1]),
        np.array([0.4, 0.3, 0.2]),
    )
    found = {name: one.ctr.estimate for name, one in estimate_policy(decisions).items()}
    assert found["logged"] == pytest.approx(2 / 3)
    assert found["IPS"] == pytest.approx((2 + 0 + 0.5) / 3)
    assert found["SNIPS"] == pytest.approx((2 + 0 + 0.5) / (2 + 2 + 0.5))
    assert found["DR"] == pytest.approx((0.4 + 2 * 0.5 + 0.3 - 2 * 0.2 + 0.2 + 0.5 * 0.9) / 3)
    weights = check_weights(decisions)
    assert weights.effective_sample_size == pytest.approx(4.5**2 / (4 + 4 + 0.25))
    assert (weights.largest_weight, weights.largest_share) == (2, pytest.approx(2 / 4.5))


def test_the_logging_policy_itself_gets_its_own_rate():
    log = WORLD.log(np.random.default_rng(0))
    same = replace(log, probabilities=log.propensities)
    found = estimate_policy(same)
    assert found["IPS"] == found["logged"]
    assert found["SNIPS"].lift == pytest.approx((0, 0, 0))
    assert check_weights(same).effective_sample_size == len(log.users)


def test_copies_of_a_users_decisions_add_no_certainty():
    log = WORLD.log(np.random.default_rng(0))
    twice = Decisions(*(np.tile(values, 2) for values in vars(log).values()))
    for name, one in estimate_policy(twice).items():
        assert one.ctr == pytest.approx(estimate_policy(log)[name].ctr)


def test_good_weights_give_no_warning():
    assert list(check_weights(WORLD.log(np.random.default_rng(0), 600)).warnings()) == []


def test_missing_support_is_noticed():
    log = WORLD.log(np.random.default_rng(0), 600)
    halved = replace(log, probabilities=log.probabilities / 2)  # half of what the policy shows is never in the log
    (line,) = check_weights(halved).warnings()
    assert line.startswith("missing support: the log never shows about 5")


def test_a_policy_that_may_show_nothing_misses_no_support():
    log = WORLD.log(np.random.default_rng(0), 600)
    assert list(check_weights(replace(log, probabilities=log.probabilities / 2, mass=log.mass / 2)).warnings()) == []


def test_wrong_propensities_are_noticed():
    log = WORLD.log(np.random.default_rng(0), 600)
    (line,) = check_weights(replace(log, propensities=log.propensities / 2)).warnings()
    assert "the propensities are not those the items were shown with" in line


def test_too_large_weights_are_noticed():
    log = WORLD.log(np.random.default_rng(0), 20)
    rare = np.where(np.arange(len(log.users)) == 3, 1e-3, log.propensities)
    lines = " ".join(check_weights(replace(log, propensities=rare)).warnings())
    assert "of equal weight" in lines
    assert "one decision has" in lines


def test_a_policy_that_is_never_met_has_no_lift():
    log = WORLD.log(np.random.default_rng(0))
    found = estimate_policy(replace(log, probabilities=np.zeros(len(log.users))))
    assert found["IPS"].ctr.estimate == 0
    assert np.isnan(found["SNIPS"].lift.estimate)
    assert found["SNIPS"].lift.high == np.inf
