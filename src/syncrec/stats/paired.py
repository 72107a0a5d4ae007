"""Two treatments of the same units, for example the NDCG of the same queries by two models.

Units of one cluster (queries of one user) are resampled and flipped together, since they are not independent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from syncrec import rng
from syncrec.stats.basics import FloatArray, Interval

__all__ = ["PairedDifference", "PairedSample", "paired_bootstrap", "paired_p_value", "paired_permutation_test"]

# Random bits of the permutation test that are held at once.
_BITS_AT_ONCE = 1 << 22
# Weights of clusters that a bootstrap holds at once: they stay in the cache.
_WEIGHTS_AT_ONCE = 1 << 17
# Ends of relative intervals: beyond how many times the estimated ratio the end is called infinite, and how exactly one
# is looked for.
_LARGEST_RATIO, _HALVINGS = 1000.0, 30
# Variances of means that are 0 but for rounding.
_NO_VARIANCE = 1e-24


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
    """Difference of the means with an interval over clusters and repetitions.

    Clusters are resampled with replacement, the same ones for both treatments, and values are means over repetitions;
    a stratum that a resample misses is left out of its mean. The distances of the percentiles from the estimate are
    then lengthened by what repetitions vary beyond that: by their variance (in quadrature), and by Student's t in
    place of the normal distribution, since it is known from a handful of them. A side with a single repetition shows
    no variance, so that its interval is over clusters alone. The relative interval holds each r for which the interval
    of the candidate's mean less (1 + r) times the baseline's holds 0, so that both leave out 0 or none does; it ends
    at -1, and at infinity where the baseline's mean may be 0.

    Source: Efron, Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; paired over topics as in
    Sakai (SIGIR 2006); the interval of a ratio after Fieller (JRSS B 1954). Resampling repetitions, too, would show
    (S - 1) / S of their variance and take t for normal.

    Args:
        sample: the paired values.
        seed: of the resampling.
        num_resamples: more of them make the ends steadier.
        confidence: probability that the interval is meant to cover, in (0, 1).
    """
    generator = rng.numpy_generator(seed, "paired-bootstrap")
    sums, counts = _cluster_sums(sample)
    parts = [part.mean(axis=1, keepdims=True) for part in sums]
    num_clusters = len(counts)
    means = np.empty((num_resamples, 2))
    at_once = max(1, _WEIGHTS_AT_ONCE // num_clusters)
    for first in range(0, num_resamples, at_once):
        rows = slice(first, min(first + at_once, num_resamples))
        weights = np.empty((rows.stop - first, num_clusters))
        for row in weights:
            row[:] = np.bincount(generator.integers(num_clusters, size=num_clusters), minlength=num_clusters)
        for side, part in enumerate(parts):
            means[rows, side] = _weighted_means(part, counts, weights)[:, 0]
    own = np.array([_weighted_means(part, counts, np.ones((1, num_clusters)))[0, 0] for part in parts])
    variances = _variances(sample, sums, counts)

    def interval(factor: float) -> Interval:
        """Of the candidate's mean less `factor` times the baseline's."""
        over_clusters = _percentile_interval(own[0] - factor * own[1], means[:, 0] - factor * means[:, 1], confidence)
        return _lengthened(over_clusters, variances.spread(factor), confidence)

    relative = _percentile_interval(_relative(own[None])[0], _relative(means), confidence)
    if variances.repetitions and own[1] > 0:
        relative = Interval(relative.estimate, *_ends_of_ratio(interval, own[0] / own[1]))
    absolute = interval(1.0)
    if absolute.low > 0:  # what holds r on both sides of 0, but not 0, ends there
        relative = relative._replace(low=max(relative.low, 0.0))
    elif absolute.high < 0:
        relative = relative._replace(high=min(relative.high, 0.0))
    return PairedDifference(absolute, relative)


def _ends_of_ratio(interval: Callable[[float], Interval], ratio: float) -> tuple[float, float]:
    """The lowest and the highest r for which `interval(1 + r)` holds 0; at `1 + r = ratio` its estimate is 0."""
    low, inside, outside = 0.0, ratio, 2 * (ratio or 1.0)
    if interval(0.0).low > 0:
        low = _boundary(lambda factor: interval(factor).low <= 0, ratio, 0.0)
    largest = _LARGEST_RATIO * outside
    while interval(outside).high >= 0:
        inside, outside = outside, 2 * outside
        if outside > largest:
            return float(low - 1), np.inf
    return float(low - 1), float(_boundary(lambda factor: interval(factor).high >= 0, inside, outside) - 1)


def _boundary(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where `holds` ends between a number for which it does and one for which it does not, to eight digits or so."""
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside


@dataclass(frozen=True)
class _Spread:
    """Variance of a difference of means: by clusters, by repetitions beyond that, and the degrees of freedom of both.

    The degrees of freedom are those that repetitions leave; infinite without repetitions, or where all are equal.
    """

    clusters: float
    repetitions: float
    freedom: float


@dataclass(frozen=True)
class _Repetitions:
    """What S repetitions show, as variances and covariances of both sides' means over them [2, 2].

    `between`: of what was found in each, over S. `chance`: how much of that is chance over clusters.
    """

    number: int
    between: FloatArray
    chance: FloatArray


@dataclass(frozen=True)
class _Variances:
    """Of both sides' means, [2, 2]: by clusters, of which there are one more than `freedom`; by sets of repetitions.

    Analysis of variance of clusters crossed with repetitions, both random: the means of S repetitions differ by what
    repetitions are worth and by chance over clusters, which is estimated from how one cluster's values differ between
    repetitions, and taken off, since the variance by clusters holds it already. Degrees of freedom after
    Satterthwaite (Biometrics Bulletin 1946), never fewer than of the smallest set of repetitions: his formula may give
    less where a part is taken off.
    """

    clusters: FloatArray
    freedom: int
    repetitions: tuple[_Repetitions, ...]

    def spread(self, factor: float = 1.0) -> _Spread:
        """Of the candidate's mean less `factor` times the baseline's."""
        sides = np.array([1.0, -factor])
        clusters, added, uncertainty = max(float(sides @ self.clusters @ sides), 0.0), 0.0, 0.0
        for found in self.repetitions:
            between, chance = (float(sides @ matrix @ sides) for matrix in (found.between, found.chance))
            added += max(between - chance, 0.0)
            uncertainty += (between**2 + chance**2 / max(self.freedom, 1)) / (found.number - 1)
        total = clusters + added
        if total <= _NO_VARIANCE or not uncertainty:
            return _Spread(clusters, added, np.inf)
        return _Spread(clusters, added, max(total**2 / uncertainty, min(r.number for r in self.repetitions) - 1))


def _variances(sample: PairedSample, sums: list[FloatArray], counts: FloatArray) -> _Variances:
    shares = _centred_shares(sums, counts)
    levels = [_weighted_means(part, counts, np.ones((1, len(counts))))[0] for part in sums]
    freedom = len(counts) - 1
    correction = len(counts) / max(freedom, 1)
    of_clusters = np.stack([side.mean(axis=1) for side in shares])
    sets = [(0, 1)] if sample.repetitions == "paired" else [(0,), (1,)]
    found = []
    for sides in sets:
        number = len(levels[sides[0]])
        if number < 2:
            continue
        between, chance = np.zeros((2, 2)), np.zeros((2, 2))
        deviations = [shares[side] - shares[side].mean(axis=1, keepdims=True) for side in sides]
        place = np.ix_(sides, sides)
        between[place] = np.cov(np.stack([levels[side] for side in sides])) / number
        products = np.einsum("acs,bcs->ab", np.stack(deviations), np.stack(deviations))
        chance[place] = products / (number - 1) * correction / number
        found.append(_Repetitions(number, between, chance))
    return _Variances(of_clusters @ of_clusters.T * correction, freedom, tuple(found))


def _centred_shares(sums: list[FloatArray], counts: FloatArray) -> list[FloatArray]:
    """What each cluster adds to the mean of its side, less what it would add if all units were alike, [clusters, S]."""
    totals = counts.sum(axis=0)
    return [((part - part.sum(axis=0) / totals * counts[:, None]) / totals).mean(axis=-1) for part in sums]


def _lengthened(interval: Interval, spread: _Spread, confidence: float) -> Interval:
    """The interval over clusters with the variance of repetitions added to it."""
    if not np.isfinite(spread.freedom):
        return interval
    from scipy.special import ndtri, stdtrit

    quantile = (1 + confidence) / 2
    normal = float(ndtri(quantile))
    stretch = float(stdtrit(spread.freedom, quantile)) / normal
    added = normal * spread.repetitions**0.5
    below, above = (max(interval.estimate - interval.low, 0.0), max(interval.high - interval.estimate, 0.0))
    return Interval(
        interval.estimate,
        interval.estimate - stretch * float(np.hypot(below, added)),
        interval.estimate + stretch * float(np.hypot(above, added)),
    )


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
    is over clusters and says nothing about other repetitions (`paired_p_value` does). At least
    `1 / (num_permutations + 1)`, never 0.

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


def paired_p_value(sample: PairedSample, *, seed: int, num_permutations: int = 10_000) -> float:
    """Two-sided p-value of "no difference", over clusters and repetitions.

    The greater one of `paired_permutation_test` and, with several repetitions, of a t-test with the variance and the
    degrees of freedom that lengthen the interval of `paired_bootstrap`.
    """
    over_clusters = paired_permutation_test(sample, seed=seed, num_permutations=num_permutations)
    sums, counts = _cluster_sums(sample)
    spread = _variances(sample, sums, counts).spread()
    variance = spread.clusters + spread.repetitions
    if not np.isfinite(spread.freedom):
        return over_clusters
    from scipy.special import stdtr

    statistic = abs(float(_cluster_shares(sample).sum())) / variance**0.5
    return max(over_clusters, 2 * float(stdtr(spread.freedom, -statistic)))


def _cluster_shares(sample: PairedSample) -> FloatArray:
    """What each cluster adds to the difference of means, so that their sum is that difference, [clusters]."""
    sums, counts = _cluster_sums(sample)
    difference = sums[0].mean(axis=1) - sums[1].mean(axis=1)
    shares: FloatArray = (difference / counts.sum(axis=0)).mean(axis=1)
    return shares
