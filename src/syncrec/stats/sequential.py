"""Tests that may be looked at as often as one likes, and stopped at any look.

A fixed test promises 5 % false alarms for one look at a number of users that was set beforehand. Looked at daily, it
gives several times as many. The intervals here hold at all looks together: with probability `confidence` the truth is
inside *every* one of them.

Source: the normal mixture of Robbins (1970); for estimates that are only nearly normal, asymptotic confidence
sequences, Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (Annals of Statistics 2024), theorem 2.2, with
t rho^2 = (scale / error)^2; as p-values, Johari, Koomen, Pekelis, Walsh (Operations Research 2022).

`scale` is the standard deviation of the mixture, in the units of the estimate. It must be set before the data are
seen; any value is valid, and the intervals are narrowest for effects of about that size (`mixture_scale`).

What is assumed: many users, as in any use of the normal distribution; and that the estimate's error at one look
agrees with that at an earlier look at least as much as in a sum of independent parts. Users who come back satisfy
that: what is their own stays their own. `docs/experiments-online.md` has the argument and simulations.
"""

import math

import numpy as np

from syncrec.stats.basics import FloatArray
from syncrec.stats.ratio import Estimate

__all__ = [
    "fixed_half_width",
    "mixture_scale",
    "required_information",
    "sequential_half_width",
    "sequential_p_value",
]


def sequential_half_width(error: FloatArray, scale: float, confidence: float = 0.95) -> FloatArray:
    """Half the width of the always-valid interval of an estimate with this standard error; infinite as the error is."""
    known = np.isfinite(error) & (error > 0)
    safe = np.where(known, error, 1.0)
    tau = (scale / safe) ** 2
    width = safe * np.sqrt((1 + 1 / tau) * 2 * (np.log1p(tau) / 2 - math.log(1 - confidence)))
    return np.where(known, width, error)


def sequential_p_value(estimate: Estimate, scale: float) -> FloatArray:
    """p-value of "the truth is 0", valid at every look together: below 1 - confidence where the interval excludes 0."""
    known = np.isfinite(estimate.error) & (estimate.error > 0)
    safe = np.where(known, estimate.error, 1.0)
    tau = (scale / safe) ** 2
    exponent = np.log1p(tau) / 2 - (estimate.value / safe) ** 2 / 2 * tau / (1 + tau)
    return np.where(known, np.exp(np.minimum(exponent, 0.0)), 1.0)


def fixed_half_width(error: FloatArray, confidence: float = 0.95) -> FloatArray:
    """Half the width of the usual normal interval: holds at one look that was set beforehand, and at no other."""
    from scipy.special import ndtri

    return float(ndtri((1 + confidence) / 2)) * error


def mixture_scale(effect: float, confidence: float = 0.95, power: float = 0.8) -> float:
    """The scale whose interval is narrowest when `effect` is about to be found with this power.

    Source: the best rho of Waudby-Smith et al., appendix, with Lambert's W: tau = -W_{-1}(-alpha^2 / e) - 1.
    """
    from scipy.special import lambertw, ndtri

    alpha = 1 - confidence
    tau = float(-lambertw(-(alpha**2) / math.e, k=-1).real) - 1
    boundary = math.sqrt((1 + 1 / tau) * 2 * (math.log1p(tau) / 2 - math.log(alpha)))
    return abs(effect) * math.sqrt(tau) / (boundary + float(ndtri(power)))


def required_information(effect: float, scale: float, confidence: float = 0.95, power: float = 0.8) -> float:
    """The information (1 / error^2) at which an interval excludes 0 with this power if the truth is `effect`.

    Counting that look alone; that an earlier one may do is not counted, so the power is a little higher.
    """
    from scipy.special import ndtri

    z = float(ndtri(power))
    low, high = -30.0, 30.0  # logarithms of the information in units of 1 / effect^2
    for _ in range(100):
        middle = (low + high) / 2
        error = abs(effect) * math.exp(-middle / 2)
        is_enough = abs(effect) - float(sequential_half_width(np.array(error), scale, confidence)) >= z * error
        low, high = (low, middle) if is_enough else (middle, high)
    return math.exp(high) / effect**2
