"""Less noise from what units did before: CUPED (Deng, Xu, Kohavi, Walker, WSDM 2013) for the ratio of two rates.

Who clicked much before an experiment clicks much in it, in every arm. Chance gives one arm a few more of them; what
this adds to its rate is known from before, so it is taken out. Randomisation makes the expected correction zero,
however bad the prediction is; a good one leaves less noise.

The weight of the correction comes from the time before alone, so that it stays the same at all looks: the estimate is
one fixed function of sums over independent units, and all that is said of sequential intervals holds for it too.
"""

from dataclasses import dataclass

import numpy as np

from syncrec.stats.basics import FloatArray
from syncrec.stats.ratio import Estimate, RatioSums, log_ratio_of_rates

__all__ = ["CovariateSums", "Past", "adjusted_log_ratio"]


@dataclass(frozen=True)
class Past:
    """What units did before: `scores` [units], how far above the mean (above 0) or below, and the score's `weight`.

    A score is a unit's share of the relative excess in the rate, (y - rate x) / (mean x * rate): what the unit would
    add to the rate's logarithm if it did the same again. `weight`, in 0..1, is the part of the scores' variance that
    lasts: the covariance of two halves of the time over the variance of the whole.
    """

    scores: FloatArray
    weight: float

    @classmethod
    def of_halves(cls, y: FloatArray, x: FloatArray) -> "Past":
        """From sums of each half of the time, [2, units], of units that have an x in one of them."""
        halves = [_scores(*half) for half in zip(y, x, strict=True)]
        whole = _scores(y.sum(axis=0), x.sum(axis=0))
        variance = float(np.mean(whole**2)) if len(whole) else 0.0
        lasting = float(np.mean(halves[0] * halves[1])) if len(whole) else 0.0
        return cls(whole, min(1.0, max(0.0, lasting / variance)) if variance else 0.0)


def _scores(y: FloatArray, x: FloatArray) -> FloatArray:
    """Of mean 0; all 0 where the rate is."""
    total = float(y.sum())
    return np.zeros_like(y) if not total else (y - total / x.sum() * x) * (len(y) / total)


@dataclass(frozen=True)
class CovariateSums:
    """What a rate needs of its units with a score v: `RatioSums`, and sums of v, v^2, v y and v x; of one shape."""

    ratio: RatioSums
    v: FloatArray
    vv: FloatArray
    vy: FloatArray
    vx: FloatArray

    @classmethod
    def of_units(cls, y: FloatArray, x: FloatArray, v: FloatArray) -> "CovariateSums":
        """The sums over the last axis, [..., units]; units with x = 0 do not count."""
        v = v * (x > 0)
        sums = ((v * other).sum(axis=-1) for other in (np.ones_like(v), v, y, x))
        return cls(RatioSums.of_units(y, x), *sums)

    @property
    def mean(self) -> FloatArray:
        """Of v; 0 without any unit."""
        return np.divide(self.v, self.ratio.num_units, out=np.zeros_like(self.v), where=self.ratio.num_units > 0)

    def change_of_variance(self, weight: float) -> FloatArray:
        """What the correction adds to the variance of the rate's logarithm (delta method); most often negative."""
        count, mean = self.ratio.num_units, self.mean
        known = (count > 1) & (self.ratio.y > 0)
        safe, clicks = np.where(known, count, 2.0), np.where(known, self.ratio.y, 1.0)
        covariance = (self.vy - self.ratio.rate * self.vx) / clicks  # per unit already: 1 / (n mean(x) rate) = 1 / y
        variance = (self.vv - count * mean**2) / safe
        return np.where(known, (weight**2 * variance - 2 * weight * covariance) / (safe - 1), 0.0)


def adjusted_log_ratio(treatment: CovariateSums, control: CovariateSums, weight: float) -> Estimate:
    """`log_ratio_of_rates` less `weight` times the difference of the arms' mean scores."""
    plain = log_ratio_of_rates(treatment.ratio, control.ratio)
    change = treatment.change_of_variance(weight) + control.change_of_variance(weight)
    known = np.isfinite(plain.error)
    variance = np.maximum(np.where(known, plain.error, 0.0) ** 2 + change, 0.0)
    value = plain.value - weight * (treatment.mean - control.mean)
    return Estimate(np.where(known, value, 0.0), np.where(known, np.sqrt(variance), np.inf))
