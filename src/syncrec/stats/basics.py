"""An estimate with its interval, the interval of a rate, and the correction for many tests."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["FloatArray", "Interval", "holm_correction", "wilson_interval"]

FloatArray = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate with the lower and upper end of its interval; `low <= high`."""

    estimate: float
    low: float
    high: float

    def content(self) -> dict[str, float | None]:
        """Plain values for JSON: null for infinity, the share of nothing."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """A rate with Wilson's score interval, always inside 0..1; without trials the estimate is 0 and the interval 0..1.

    Source: Wilson (JASA 1927), without continuity correction.

    Raises:
        ValueError: `successes` is not within 0..`trials`.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be within 0..{trials}, got {successes}")
    if not trials:
        return Interval(0.0, 0.0, 1.0)
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    rate = successes / trials
    centre = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * float(np.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2)))
    # At 0 and at 1 one end is exact; rounding must not move it past the rate.
    return Interval(rate, min(max(0.0, centre - half), rate), max(min(1.0, centre + half), rate))


def holm_correction(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number: reject those below alpha, and any false rejection stays below alpha.

    Same order as given; never below the p-value itself, never above 1. Source: Holm (1979), step-down.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in corrected]
