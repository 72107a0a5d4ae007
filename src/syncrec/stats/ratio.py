"""Rates whose unit of randomisation is coarser than what is counted: clicks over impressions, by user.

Impressions of one user are alike, so an interval that takes them for independent is too narrow, several times over for
active users. Here users are the independent units, and a rate is a ratio of two means over users.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from syncrec.stats.basics import FloatArray

__all__ = ["Estimate", "RatioSums", "difference_of_rates", "log_ratio_of_rates"]


class Estimate(NamedTuple):
    """An approximately normal estimate and its standard error; arrays of one shape. Unknown is 0 with error inf."""

    value: FloatArray
    error: FloatArray


@dataclass(frozen=True)
class RatioSums:
    """What a rate y / x needs of its users: their number and sums of y, x, y^2, x y and x^2; arrays of one shape."""

    num_units: FloatArray
    y: FloatArray
    x: FloatArray
    yy: FloatArray
    xy: FloatArray
    xx: FloatArray

    @classmethod
    def of_units(cls, y: FloatArray, x: FloatArray) -> "RatioSums":
        """The sums over the last axis of `y` and `x`, [..., users]; users with x = 0 do not count."""
        counted = x > 0
        return cls(
            counted.sum(axis=-1).astype(np.float64),
            (y * counted).sum(axis=-1),
            x.sum(axis=-1),
            (y * y * counted).sum(axis=-1),
            (x * y).sum(axis=-1),
            (x * x).sum(axis=-1),
        )

    @property
    def rate(self) -> FloatArray:
        """Sum of y over sum of x; 0 without any x."""
        return np.divide(self.y, self.x, out=np.zeros_like(self.x), where=self.x > 0)

    @property
    def effective_units(self) -> FloatArray:
        """(sum of x)^2 / sum of x^2: as many users of equal x would weigh as much (Kish 1965); 0 without any."""
        return np.divide(self.x**2, self.xx, out=np.zeros_like(self.x), where=self.xx > 0)

    @property
    def variance(self) -> FloatArray:
        """Variance of the rate; infinite with fewer than two users.

        Source: the delta method for ratio metrics, Deng, Knoblich, Lu (KDD 2018), section 3. In a sum over users:
        n / (n - 1) sum (y - rate x)^2 / (sum x)^2.
        """
        squares = np.maximum(self.yy - 2 * self.rate * self.xy + self.rate**2 * self.xx, 0.0)
        enough = self.num_units > 1
        scale = np.where(enough, self.x**2 * (self.num_units - 1), 1.0)
        return np.where(enough, self.num_units * squares / scale, np.inf)


def difference_of_rates(treatment: RatioSums, control: RatioSums, times: float = 1.0) -> Estimate:
    """The treatment's rate minus `times` that of the control; the two have no user in common."""
    error = np.sqrt(treatment.variance + times**2 * control.variance)
    value = treatment.rate - times * control.rate
    return Estimate(np.where(np.isfinite(error), value, 0.0), error)


def log_ratio_of_rates(treatment: RatioSums, control: RatioSums) -> Estimate:
    """Logarithm of (rate of the treatment / that of the control), so that `exp(value) - 1` is the relative lift.

    The delta method once more: log R has variance var(R) / R^2. On this scale a lift and its opposite are alike, and
    no interval goes below -100 %. Unknown (0, infinite error) where a rate is 0.
    """
    known = (treatment.rate > 0) & (control.rate > 0)
    rates = [np.where(known, part.rate, 1.0) for part in (treatment, control)]
    variances = [part.variance / rate**2 for part, rate in zip((treatment, control), rates, strict=True)]
    error = np.where(known, np.sqrt(variances[0] + variances[1]), np.inf)
    return Estimate(np.where(np.isfinite(error), np.log(rates[0] / rates[1]), 0.0), error)
