"""Two sets of results against each other: which domain gains, which loses, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from syncrec.errors import ArtifactError
from syncrec.evaluation.metrics import FloatArray, IntArray, check_metric
from syncrec.evaluation.results import Estimate, EvaluationResult
from syncrec.stats import Interval, PairedSample, holm_correction, paired_bootstrap, paired_p_value

__all__ = ["Comparison", "Contestant", "Difference", "Verdict", "check_comparable", "compare", "differences"]

_SIGNIFICANCE = 0.05
# What must agree, and what to do if it does not.
_SAME = {
    "dataset_checksum": "evaluate all on one prepared dataset",
    "domains": "evaluate all on one prepared dataset",
    "protocol": "evaluate all with the same --protocol",
    "split": "evaluate all with the same --split",
    "negatives_seed": "evaluate all with the same --seed, so that they meet the same negatives",
}

Verdict = Literal["gains", "neutral", "loses"]


@dataclass(frozen=True)
class Contestant:
    """One answer of one model, in one result for each training seed."""

    results: Sequence[EvaluationResult]
    answer: str

    @property
    def name(self) -> str:
        """`model answer`, or the model alone if it gives no other answer."""
        model, answers = self.results[0].provenance.model, self.results[0].answers
        return model if len(answers) == 1 else f"{model} {self.answer}"

    def values(self, metric: str, estimate: Estimate) -> FloatArray:
        """`metric` of each query in each result, [S, Q]; results in ascending order of their training seed."""
        ordered = sorted(self.results, key=lambda result: result.provenance.seed)
        return np.stack([result.values(self.answer, estimate)[metric] for result in ordered])


@dataclass(frozen=True)
class Difference:
    """Candidate against baseline in one domain, or in the mean over domains.

    `p_value` is corrected for the number of domains (Holm); that of the mean over domains needs no correction.
    """

    num_queries: int
    candidate_mean: float
    baseline_mean: float
    absolute: Interval
    relative: Interval
    p_value: float

    @property
    def verdict(self) -> Verdict:
        """`gains` or `loses` if the 95 % interval leaves out 0 and the p-value is below .05; else `neutral`.

        Both are asked for, since with a handful of users a bootstrap interval is too narrow. `neutral` is no proof of
        equality: the lower end of the interval says which loss is still possible.
        """
        if self.p_value >= _SIGNIFICANCE or self.absolute.low <= 0 <= self.absolute.high:
            return "neutral"
        return "gains" if self.absolute.low > 0 else "loses"


@dataclass(frozen=True)
class Comparison:
    """Differences of `metric` by domain (those with queries), and of its mean over these domains."""

    candidate: str
    baseline: str
    metric: str
    estimate: Estimate
    protocol: str
    split: str
    num_seeds: int
    domains: dict[str, Difference]
    macro: Difference


def compare(
    candidate: Contestant,
    baseline: Contestant,
    *,
    metric: str = "ndcg@10",
    estimate: Estimate = "drawn",
    seed: int = 0,
) -> Comparison:
    """Compare over the same queries; intervals and p-values are over users and, with several results, seeds.

    Results pair up in the order of their training seeds; a contestant with one result meets each of the other's.

    Args:
        candidate: whose gain is positive.
        baseline: what it is measured against.
        metric: a name in `METRICS`.
        estimate: of sampled protocols, `expected` leaves out the noise of the draw.
        seed: of the resampling.

    Raises:
        ArtifactError: the results are of other queries or protocols, or their numbers do not pair up.
        UnknownNameError: there is no such metric or answer.
    """
    check_metric(metric)
    check_comparable([*candidate.results, *baseline.results])
    first = candidate.results[0]
    values = _paired(candidate.values(metric, estimate), baseline.values(metric, estimate))
    domains, macro = differences(first, PairedSample(*values), seed=seed)
    return Comparison(
        candidate=candidate.name,
        baseline=baseline.name,
        metric=metric,
        estimate=estimate,
        protocol=first.protocol,
        split=first.split,
        num_seeds=values.shape[1],
        domains=domains,
        macro=macro,
    )


def differences(
    queries: EvaluationResult, sample: PairedSample, *, seed: int
) -> tuple[dict[str, Difference], Difference]:
    """Candidate against baseline in each domain with queries, p-values corrected for their number, and in the mean.

    Args:
        queries: a result with the queries that the values of `sample` are of; its users and domains are taken.
        sample: the values; its own clusters and strata are not looked at.
        seed: of the resampling.
    """
    users = np.unique(queries.users, return_inverse=True)[1]
    present = np.unique(queries.query_domains)
    masks = [queries.query_domains == number for number in present]
    parts = [_difference(_part(sample, users, queries.query_domains, mask), seed) for mask in masks]
    corrected = holm_correction([part.p_value for part in parts])
    domains = {
        queries.domains[number]: replace(part, p_value=p_value)
        for number, part, p_value in zip(present, parts, corrected, strict=True)
    }
    everything = np.ones(len(users), dtype=bool)
    return domains, _difference(_part(sample, users, queries.query_domains, everything), seed)


def check_comparable(results: Sequence[EvaluationResult], names: Sequence[str] = ()) -> None:
    """Make sure that all results answer the same queries under the same protocol.

    Args:
        results: one or more.
        names: what to call each in an error, for example its file.

    Raises:
        ArtifactError: they do not, or there is none; the text names the first difference.
    """
    if not results:
        raise ArtifactError("no results to compare; give at least one file written by `syncrec evaluate`")
    first = results[0]
    for number, other in enumerate(results[1:], start=1):
        where = f" ({names[0]} and {names[number]})" if names else ""
        for field, remedy in _SAME.items():
            ours, theirs = getattr(first, field), getattr(other, field)
            if ours != theirs and not (field == "negatives_seed" and first.num_eligible is None):
                raise ArtifactError(f"results differ in {field}: {_shown(ours)} and {_shown(theirs)}{where}; {remedy}")
        if first.users != other.users or not np.array_equal(first.query_domains, other.query_domains):
            raise ArtifactError(f"results of the same dataset hold different queries{where}; evaluate them again")


def _shown(value: object) -> str:
    """A value in an error; of a checksum enough to tell it from others."""
    text = repr(value)
    return text if len(text) <= 20 else f"{text[:13]}...'"


def _paired(candidate: FloatArray, baseline: FloatArray) -> FloatArray:
    """Candidate and baseline stacked, [2, S, Q]; one row is repeated to meet several."""
    sizes = {len(candidate), len(baseline)}
    if len(sizes - {1}) > 1:
        raise ArtifactError(
            f"{len(candidate)} results of the candidate and {len(baseline)} of the baseline do not pair up; "
            "give the same seeds for both, or one result for one of them"
        )
    return np.stack(np.broadcast_arrays(candidate, baseline))


def _part(sample: PairedSample, users: IntArray, domains: IntArray, mask: npt.NDArray[np.bool_]) -> PairedSample:
    """The queries of `mask` alone, with their users as clusters and their domains as strata."""
    return replace(
        sample,
        candidate=sample.candidate[:, mask],
        baseline=sample.baseline[:, mask],
        clusters=users[mask],
        strata=domains[mask],
    )


def _difference(sample: PairedSample, seed: int) -> Difference:
    bootstrap = paired_bootstrap(sample, seed=seed)
    means = [_macro_mean(values, sample.stratum_numbers) for values in (sample.candidate, sample.baseline)]
    p_value = paired_p_value(sample, seed=seed)
    num_queries = sample.candidate.shape[-1]
    return Difference(num_queries, means[0], means[1], bootstrap.absolute, bootstrap.relative, p_value)


def _macro_mean(values: FloatArray, domains: IntArray) -> float:
    return float(np.mean([values[:, domains == number].mean() for number in np.unique(domains)]))
