"""Choosing how much of the single answer joins the cross answer, per domain, on validation data alone."""

from collections.abc import Callable, Sequence

import numpy as np

from syncrec.evaluation.metrics import FloatArray, IntArray, mrr

__all__ = ["FUSION_GRID", "choose_fusion_weights"]

FUSION_GRID = tuple(step / 10 for step in range(11))


def choose_fusion_weights(
    ranks_for_weight: Callable[[float], FloatArray],
    query_domains: IntArray,
    num_domains: int,
    grid: Sequence[float] = FUSION_GRID,
) -> FloatArray:
    """For each domain the weight w of `s = (1 - w) * s_cross + w * s_single` with the best validation MRR, [D].

    Source: model.md (M13); the paper answers with w = 0. Of equally good weights the smallest is taken, so a domain
    without validation queries stays at w = 0 with the default grid.

    Args:
        ranks_for_weight: w -> the full validation ranks of every query when w is used in all domains, [Q].
        query_domains: domain number of each query's target, [Q].
        num_domains: D.
        grid: the weights tried, ascending.
    """
    scores = [_mrr_by_domain(ranks_for_weight(weight), query_domains, num_domains) for weight in grid]
    # argmax takes the first of equals; rounding keeps the noise of summation from deciding between them.
    weights: FloatArray = np.asarray(grid, dtype=np.float64)[np.argmax(np.round(scores, 12), axis=0)]
    return weights


def _mrr_by_domain(ranks: FloatArray, query_domains: IntArray, num_domains: int) -> FloatArray:
    totals = np.bincount(query_domains, weights=mrr(ranks), minlength=num_domains)
    counts = np.bincount(query_domains, minlength=num_domains)
    means: FloatArray = totals / np.maximum(counts, 1)
    return means
