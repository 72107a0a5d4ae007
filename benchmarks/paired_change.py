"""A line of a table: two sides of the same queries, their means over domains, and the paired change."""

import numpy as np
import numpy.typing as npt

from syncrec.stats import PairedSample, paired_bootstrap

__all__ = ["change_cells"]


def change_cells(
    before: npt.NDArray[np.float64],
    after: npt.NDArray[np.float64],
    users: npt.NDArray[np.int64],
    domains: npt.NDArray[np.int64],
) -> str:
    """Cells `before | after | change | interval` of values [seeds, queries]; users and domains of the queries."""
    means = [np.mean([side[:, domains == number].mean() for number in np.unique(domains)]) for side in (before, after)]
    change = paired_bootstrap(PairedSample(after, before, users, domains), seed=0).relative
    interval = f"{100 * change.low:+.1f} to {100 * change.high:+.1f} %"
    return f"{means[0]:.4f} | {means[1]:.4f} | {100 * change.estimate:+.1f} % | {interval}"
