"""Are the users where the shares say they should be?"""

from collections.abc import Sequence

import numpy as np

__all__ = ["sample_ratio_p_value"]


def sample_ratio_p_value(counts: Sequence[int], shares: Sequence[float]) -> float:
    """p-value of "users fall into the arms with these `shares`" given their `counts`; 1 without users.

    Source: Pearson's chi-square test with arms - 1 degrees of freedom, as a check for sample ratio mismatch in
    Fabijan et al. (KDD 2019). Shares are taken relative to their sum.
    """
    from scipy.special import chdtrc

    total, expected = sum(counts), np.asarray(shares, dtype=np.float64)
    if not total or len(counts) < 2:
        return 1.0
    expected = expected / expected.sum() * total
    statistic = float(((np.asarray(counts) - expected) ** 2 / expected).sum())
    return float(chdtrc(len(counts) - 1, statistic))
