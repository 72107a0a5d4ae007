"""Two treatments of the same units, for example the NDCG of the same queries by two models.

Units of one cluster (queries of one user) are resampled and flipped together, since they are not independent.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from syncrec import rng
from syncrec.stats.basics import FloatArray, Interval

__all__ = ["PairedDifference", "PairedSample", "paired_bootstrap", "paired_permutation_test"]

# Random bits of the permutation test that are held at once.
_BITS_AT_ONCE = 1 << 22
# Weights of clusters that a bootstrap holds at once: they stay in the cache.
_WEIGHTS_AT_ONCE = 1 << 17


class PairedDifference(NamedTuple):
    """Mean of the candidate minus that of the baseline, and the same divided by the baseline's mean (.05 is +5 %).

    The relative one is infinite where the baseline's mean is 0 and the candidate's is not, and 0 where both are.
    """

    absolute: Interval
    relative: Interval


@dataclass(frozen=True)
class PairedSample:
    """Values of the same Q units under two treatments, in several repetitions (seeds) of each.

    `candidate` and `baseline` are [Q] or [S, Q]. `clusters` [Q] says which units belong together (users); without
    it each stands alone. `strata` [Q] are groups (domains) whose means weigh the same in the mean of all; without
    it there is one group. Repetition s of the candidate belongs to repetition s of the baseline, unless they are
    `independent`: then their numbers may differ too. Units are paired in either case.

    Raises:
        ValueError: the shapes differ in more than that, or there is no unit.
    """

    candidate: FloatArray
    baseline: FloatArray
    clusters: npt.NDArray[np.int64] | None = None
    strata: npt.NDArray[np.int64] | None = None
    repetitions: Literal["paired", "independent"] = "paired"

    def __post_init__(self) -> None:
        shapes = self.candidate.shape, self.baseline.shape
        compared = shapes if self.repetitions == "paired" else [shape[-1:] for shape in shapes]
        if compared[0] != compared[1] or not self.candidate.size or not self.baseline.size:
            raise ValueError(f"paired values of shapes {shapes[0]} and {shapes[1]}")

    @property
    def cluster_numbers(self) -> npt.NDArray[np.int64]:
        """Cluster of each unit as a number from 0, [Q]."""
        return _numbered(np.arange(self.candidate.shape[-1]) if self.clusters is None else self.clusters)

    @property
    def stratum_numbers(self) -> npt.NDArray[np.int64]:
        """Stratum of each unit as a number from 0, [Q]."""
        return _numbered(np.zeros(self.candidate.shape[-1], np.int64) if self.strata is None else self.strata)


def _numbered(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def paired_bootstrap(
    sample: PairedSample, *, seed: int, num_resamples: int = 2000, confidence: float = 0.95
) -> PairedDifference:
    """Difference of the means with percentile bootstrap intervals over clusters and, at two levels, repetitions.

    Each resample draws clusters with replacement, the same ones for both treatments and all repetitions, and then
    repetitions with replacement, the same ones for both treatments unless they are independent. A stratum that a
    resample misses is left out of its mean. With few repetitions the interval is a little too narrow: S seeds show
    (S - 1) / S of the variance between seeds.

    Source: Efron, Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; paired over topics as in
    Sakai (SIGIR 2006).

    Args:
        sample: the paired values.
        seed: of the resampling.
        num_resamples: more of them make the ends steadier.
        confidence: probability that the interval is meant to cover, in (0, 1).
    """
    generator = rng.numpy_generator(seed, "paired-bootstrap")
    sums, counts = _cluster_sums(sample)
    num_clusters = len(counts)
    means = np.empty((num_resamples, 2))
    at_once = max(1, _WEIGHTS_AT_ONCE // num_clusters)
    for first in range(0, num_resamples, at_once):
        rows = slice(first, min(first + at_once, num_resamples))
        weights = np.empty((rows.stop - first, num_clusters))
        picks = []
        for row in weights:
            row[:] = np.bincount(generator.integers(num_clusters, size=num_clusters), minlength=num_clusters)
            picks.append(_drawn_repetitions(sample, generator))
        for side, part in enumerate(sums):
            of_repetition = _weighted_means(part, counts, weights)
            drawn = np.stack([pick[side] for pick in picks])
            means[rows, side] = np.take_along_axis(of_repetition, drawn, axis=1).mean(axis=1)
    own = np.array([_weighted_means(part, counts, np.ones((1, num_clusters))).mean() for part in sums])
    return PairedDifference(
        _percentile_interval(own[0] - own[1], means[:, 0] - means[:, 1], confidence),
        _percentile_interval(_relative(own[None])[0], _relative(means), confidence),
    )


def _drawn_repetitions(sample: PairedSample, generator: np.random.Generator) -> list[npt.NDArray[np.int64]]:
    """Which repetitions of candidate and baseline a resample takes."""
    sizes = [1 if values.ndim == 1 else len(values) for values in (sample.candidate, sample.baseline)]
    if sizes == [1, 1]:
        return [np.zeros(1, dtype=np.int64)] * 2
    if sample.repetitions == "paired":
        return [generator.integers(sizes[0], size=sizes[0])] * 2
    return [generator.integers(size, size=size) for size in sizes]


def _cluster_sums(sample: PairedSample) -> tuple[list[FloatArray], FloatArray]:
    """Sums of candidate and of baseline, [clusters, S, strata] each, and numbers of units [clusters, strata]."""
    clusters, strata = sample.cluster_numbers, sample.stratum_numbers
    shape = (int(clusters.max()) + 1, int(strata.max()) + 1)
    cells = clusters * shape[1] + strata

    def cell_sums(values: FloatArray | None) -> FloatArray:
        return np.bincount(cells, weights=values, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    sums = [
        np.stack([cell_sums(row) for row in np.atleast_2d(values)], axis=1)
        for values in (sample.candidate, sample.baseline)
    ]
    return sums, cell_sums(None)


def _weighted_means(sums: FloatArray, counts: FloatArray, weights: FloatArray) -> FloatArray:
    """The mean over strata of their means, [R, S]; in row r cluster c counts `weights[r, c]` times."""
    totals = (weights @ sums.reshape(len(sums), -1)).reshape(-1, *sums.shape[1:])
    units = weights @ counts
    is_there = units > 0
    means = totals / np.where(is_there, units, 1)[:, None]
    averaged: FloatArray = means.sum(axis=-1) / is_there.sum(axis=-1)[:, None]
    return averaged


def _relative(means: FloatArray) -> FloatArray:
    """Relative difference of each row (candidate, baseline)."""
    difference = means[:, 0] - means[:, 1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(difference == 0, 0.0, difference / means[:, 1])


def _percentile_interval(estimate: np.float64, resampled: FloatArray, confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    # Whole order statistics: interpolation between a number and infinity would give NaN.
    low, high = np.quantile(resampled, [tail, 1 - tail], method="nearest")
    return Interval(float(estimate), float(low), float(high))


def paired_permutation_test(sample: PairedSample, *, seed: int, num_permutations: int = 10_000) -> float:
    """Two-sided p-value of "no difference": how often do random sign flips of whole clusters differ as much?

    The statistic is the difference of means that `paired_bootstrap` estimates, averaged over repetitions; the test
    is over clusters and says nothing about other seeds. At least `1 / (num_permutations + 1)`, never 0.

    Source: Fisher's randomisation test as in Smucker, Allan, Carterette (CIKM 2007); the added one from Phipson,
    Smyth (2010).
    """
    shares = _cluster_shares(sample)
    observed = abs(shares.sum())
    generator = rng.numpy_generator(seed, "paired-permutation")
    at_once = max(1, _BITS_AT_ONCE // len(shares))
    as_extreme = 0
    for first in range(0, num_permutations, at_once):
        num_rows = min(at_once, num_permutations - first)
        flipped = generator.integers(0, 2, (num_rows, len(shares)), dtype=np.int8) @ shares
        # Flipping the clusters with bit 1: sum - 2 * (their sum). The margin counts sums equal but for rounding.
        differences = np.abs(shares.sum() - 2 * flipped)
        as_extreme += int(np.count_nonzero(differences >= observed * (1 - 1e-9)))
    return (1 + as_extreme) / (1 + num_permutations)


def _cluster_shares(sample: PairedSample) -> FloatArray:
    """What each cluster adds to the difference of means, so that their sum is that difference, [clusters]."""
    sums, counts = _cluster_sums(sample)
    difference = sums[0].mean(axis=1) - sums[1].mean(axis=1)
    shares: FloatArray = (difference / counts.sum(axis=0)).mean(axis=1)
    return shares
