"""Ranking metrics of queries with exactly one relevant item, their means per domain, and the mean over domains.

A rank is a float of at least 1: a target inside a tie has the mean rank of that tie, so ranks may end in .5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from syncrec.errors import UnknownNameError

__all__ = [
    "CUTOFFS",
    "MACRO",
    "METRICS",
    "FloatArray",
    "IntArray",
    "Summary",
    "all_metrics",
    "check_metric",
    "hit_rate",
    "metric_values",
    "mrr",
    "ndcg",
    "summarise",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CUTOFFS = (5, 10, 20)
# What the mean over domains is called where domains are named.
MACRO = "mean of domains"


def hit_rate(ranks: FloatArray, k: int) -> FloatArray:
    """HR@k of each query, 0 or 1: is the target among the first k?

    `rank <= k`; a tie whose mean rank lies beyond k counts as a miss. With one relevant item this is Recall@k and
    Success@k. No queries give an empty array. Source: Cremonesi, Koren, Turrin (RecSys 2010).
    """
    return (ranks <= k).astype(np.float64)


def ndcg(ranks: FloatArray, k: int) -> FloatArray:
    """NDCG@k of each query, 0..1: `1 / log2(1 + rank)` if `rank <= k`, else 0.

    With one relevant item the ideal gain is 1, so nothing is left to normalise. No queries give an empty array.
    Source: Järvelin, Kekäläinen (TOIS 2002), with the logarithm of base 2.
    """
    return np.where(ranks <= k, 1.0 / np.log2(1.0 + ranks), 0.0)


def mrr(ranks: FloatArray) -> FloatArray:
    """Reciprocal rank of each query, in (0, 1]; its mean is the MRR, without a cut-off.

    No queries give an empty array. Source: Voorhees (TREC-8, 1999).
    """
    return 1.0 / ranks


def _named_metrics() -> dict[str, Callable[[FloatArray], FloatArray]]:
    hits = {f"hr@{k}": partial(hit_rate, k=k) for k in CUTOFFS}
    gains = {f"ndcg@{k}": partial(ndcg, k=k) for k in CUTOFFS}
    return {**hits, **gains, "mrr": mrr}


METRICS: Mapping[str, Callable[[FloatArray], FloatArray]] = _named_metrics()


def check_metric(name: str) -> None:
    """Make sure that `name` is a key of `METRICS`.

    Raises:
        UnknownNameError: there is no such metric; the text lists them.
    """
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS, "the metrics are " + ", ".join(METRICS))


def metric_values(name: str, ranks: FloatArray) -> FloatArray:
    """The metric called `name` of each query.

    Raises:
        UnknownNameError: there is no such metric.
    """
    check_metric(name)
    return METRICS[name](ranks)


def all_metrics(ranks: FloatArray) -> dict[str, FloatArray]:
    """Every metric of each query, by name."""
    return {name: metric(ranks) for name, metric in METRICS.items()}


@dataclass(frozen=True)
class Summary:
    """Means of metrics: `domains[domain][metric]` over a domain's queries, `macro[metric]` over those domains.

    A domain without queries has no entry and no share in the macro mean; without any query `macro` is empty.
    """

    domains: Mapping[str, Mapping[str, float]]
    macro: Mapping[str, float]


def summarise(values: Mapping[str, FloatArray], query_domains: IntArray, domains: Sequence[str]) -> Summary:
    """The means of `values` (metric name -> value of each query) by the domain of the query's target.

    The macro mean gives each domain the same weight, however many queries it has.
    """
    rows = {number: query_domains == number for number in range(len(domains))}
    means = {
        domains[number]: {name: float(value[mask].mean()) for name, value in values.items()}
        for number, mask in rows.items()
        if mask.any()
    }
    macro = {name: float(np.mean([mean[name] for mean in means.values()])) for name in values} if means else {}
    return Summary(means, macro)
