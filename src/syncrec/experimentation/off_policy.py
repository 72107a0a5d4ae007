"""What another policy's click-through rate would have been, from decisions that were logged with their propensities.

A decision is one place of one answer: the policy of the log drew an item with a known probability (the propensity), and
the user clicked or did not. A click is taken to depend on item and place alone, not on the answer's other items (the
item-position model of Li et al., KDD 2018). With w = (probability under the new policy) / propensity and r = 1 for a
click:

| estimator | value | source |
|---|---|---|
| IPS | mean of w r; unbiased, of large variance | Horvitz, Thompson (1952) |
| SNIPS | sum of w r / sum of w; slightly biased, steadier | Swaminathan, Joachims (NeurIPS 2015) |
| DR | mean of v + w (r - q); q is a model's rate of the item shown, v of the new policy | Dudík et al. (ICML 2011) |

All of them need support: wherever the new policy may show an item, the logging policy must have been able to. Users are
the independent units. Intervals are normal ones, for a single look: a log is judged once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from syncrec.stats import FloatArray, Interval, RatioSums, fixed_half_width

__all__ = ["Decisions", "PolicyEstimate", "WeightCheck", "check_weights", "estimate_policy"]

_MIN_SAMPLE_SIZE = 100
_MAX_SHARE = 0.05
_TOLERANCE = 0.01


@dataclass(frozen=True)
class Decisions:
    """N logged decisions, arrays of [N].

    `users` are numbers from 0; `clicked` is 0 or 1; `propensities` are in (0, 1]; `probabilities` are those of the
    logged item under the new policy; `mass` is all that the policy gives in this place (1 unless it may show nothing).
    `predicted` is the direct model's click probability of the logged item, `expected` that of the new policy.
    """

    users: npt.NDArray[np.int64]
    clicked: FloatArray
    propensities: FloatArray
    probabilities: FloatArray
    mass: FloatArray
    predicted: FloatArray
    expected: FloatArray

    @property
    def weights(self) -> FloatArray:
        """Probability under the new policy over that under the logging one."""
        return self.probabilities / self.propensities


@dataclass(frozen=True)
class PolicyEstimate:
    """A click-through rate, and its relative change from that of the log (.05 is +5 %)."""

    ctr: Interval
    lift: Interval


@dataclass(frozen=True)
class WeightCheck:
    """Whether the weights can be trusted.

    `effective_sample_size` is (sum of w)^2 / sum of w^2: as many decisions of equal weight would say as much.
    `mean_weight` should be the policy's mean mass, usually 1: less means missing support, more wrong propensities.
    """

    num_decisions: int
    effective_sample_size: float
    largest_weight: float
    largest_share: float
    mean_weight: Interval
    mean_mass: float

    def warnings(self) -> Iterator[str]:
        """What makes the estimates doubtful, a line each."""
        if self.effective_sample_size < _MIN_SAMPLE_SIZE:
            yield (
                f"{self.num_decisions:,} decisions weigh no more than {self.effective_sample_size:.0f} of equal "
                "weight: the policies differ too much, or the log is too short; collect more, or explore more"
            )
        if self.largest_share > _MAX_SHARE:
            yield (
                f"one decision has {self.largest_share:.0%} of all weight ({self.largest_weight:,.1f}): intervals are "
                "too narrow; raise the smallest propensity of the log"
            )
        if self.mean_weight.high < self.mean_mass * (1 - _TOLERANCE):
            yield (
                f"missing support: the log never shows about {1 - self.mean_weight.estimate / self.mean_mass:.0%} "
                "of what the policy would show; IPS is too low by its clicks, SNIPS and DR guess"
            )
        if self.mean_weight.low > self.mean_mass * (1 + _TOLERANCE):
            yield (
                f"weights have a mean of {self.mean_weight.estimate:.2f} where it should be {self.mean_mass:.2f}: the "
                "propensities are not those the items were shown with"
            )


def estimate_policy(decisions: Decisions, confidence: float = 0.95) -> Mapping[str, PolicyEstimate]:
    """The log's own rate (`logged`) and that of the new policy by `IPS`, `SNIPS` and `DR`."""
    weights, one = decisions.weights, np.ones_like(decisions.clicked)
    weighted = weights * decisions.clicked
    corrected = decisions.expected + weights * (decisions.clicked - decisions.predicted)
    pairs = {
        "logged": (decisions.clicked, one),
        "IPS": (weighted, one),
        "SNIPS": (weighted, weights),
        "DR": (corrected, one),
    }
    by_user = {name: tuple(_by_user(decisions, part) for part in pair) for name, pair in pairs.items()}
    logged = by_user["logged"]
    return {
        name: PolicyEstimate(_rate(y, x, confidence), _lift((y, x), logged, confidence))
        for name, (y, x) in by_user.items()
    }


def check_weights(decisions: Decisions, confidence: float = 0.95) -> WeightCheck:
    """Size and mean of the weights."""
    weights = decisions.weights
    total, squares = float(weights.sum()), float((weights**2).sum())
    largest = float(weights.max(initial=0.0))
    mean = _rate(_by_user(decisions, weights), _by_user(decisions, np.ones_like(weights)), confidence)
    return WeightCheck(
        len(weights),
        total**2 / squares if squares else 0.0,
        largest,
        largest / total if total else 0.0,
        mean,
        float(decisions.mass.mean()),
    )


def _by_user(decisions: Decisions, values: FloatArray) -> FloatArray:
    return np.bincount(decisions.users, weights=values).astype(np.float64)


def _rate(y: FloatArray, x: FloatArray, confidence: float) -> Interval:
    """sum(y) / sum(x) over users."""
    sums = RatioSums.of_units(y, x)
    half = float(fixed_half_width(np.sqrt(sums.variance), confidence))
    return Interval(float(sums.rate), float(sums.rate) - half, float(sums.rate) + half)


def _lift(subject: tuple[FloatArray, ...], logged: tuple[FloatArray, ...], confidence: float) -> Interval:
    """Relative change of one ratio from another over the same users; infinite where one of them is not above 0.

    The delta method on the logarithm of their quotient: the variance is that of the difference of both ratios'
    relative influences, user by user.
    """
    totals = [(y.sum(), x.sum()) for y, x in (subject, logged)]
    if min(min(pair) for pair in totals) <= 0:
        return Interval(np.nan, -np.inf, np.inf)
    rates = [y / x for y, x in totals]
    influence = [
        (y - rate * x) / total for (y, x), rate, (total, _) in zip((subject, logged), rates, totals, strict=True)
    ]
    difference = influence[0] - influence[1]
    num_users = len(difference)
    error = np.sqrt(num_users / max(num_users - 1, 1) * (difference**2).sum())
    log_ratio, half = np.log(rates[0] / rates[1]), fixed_half_width(error, confidence)
    return Interval(*(float(np.expm1(end)) for end in (log_ratio, log_ratio - half, log_ratio + half)))
