"""Accuracy of every answer of every model by domain, with intervals, in values for JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from syncrec.evaluation.comparison import Contestant
from syncrec.evaluation.groups import ResultGroups
from syncrec.evaluation.metrics import MACRO
from syncrec.evaluation.results import EvaluationResult
from syncrec.evaluation.seeds import seed_mean
from syncrec.reports.tables import TABLE_METRICS
from syncrec.stats import Interval, PairedSample, paired_bootstrap

__all__ = ["accuracy_content"]


def accuracy_content(groups: ResultGroups, metric: str = "ndcg@10") -> dict[str, Any]:
    """Means over seeds of every answer, and the 95 % interval of `metric` over users and seeds.

    Returns:
        `metric`, `metrics` (names of all means), `protocol`, `split`, and `rows`: `domain` (those with queries, and
        `MACRO`), `num_queries`, `answer` (a label), `means` by metric, `interval`.
    """
    first = next(iter(groups.results.values()))[0]
    rows = [
        row
        for label, results in groups.results.items()
        for answer in first_answers(results)
        for row in _rows(label if len(results[0].answers) == 1 else f"{label} {answer}", results, answer, metric)
    ]
    order = [*first.domains, MACRO]
    rows.sort(key=lambda row: order.index(row["domain"]))
    return {
        "metric": metric,
        "metrics": list(TABLE_METRICS),
        "protocol": first.protocol,
        "split": first.split,
        "rows": rows,
    }


def first_answers(results: Sequence[EvaluationResult]) -> list[str]:
    """The answers of a model: single, cross, fused, then any others."""
    known = [name for name in ("single", "cross", "fused") if name in results[0].answers]
    return known + [name for name in results[0].answers if name not in known]


def _rows(label: str, results: Sequence[EvaluationResult], answer: str, metric: str) -> Iterator[dict[str, Any]]:
    summaries, first = [result.summary(answer) for result in results], results[0]
    values = Contestant(results, answer).values(metric, "drawn")
    users = np.unique(first.users, return_inverse=True)[1]
    for number, domain in [*enumerate(first.domains), (None, MACRO)]:
        mask = np.ones(len(users), dtype=bool) if number is None else first.query_domains == number
        if not mask.any():
            continue
        means = [summary.macro if number is None else summary.domains[domain] for summary in summaries]
        yield {
            "domain": domain,
            "num_queries": int(mask.sum()),
            "answer": label,
            "means": {name: seed_mean([mean[name] for mean in means]).mean for name in TABLE_METRICS},
            "interval": _interval(values[:, mask], users[mask], first.query_domains[mask]).content(),
        }


def _interval(values: np.ndarray, users: np.ndarray, domains: np.ndarray) -> Interval:
    """Mean with its interval: the difference to zeros."""
    sample = PairedSample(values, np.zeros_like(values), clusters=users, strata=domains)
    return paired_bootstrap(sample, seed=0, num_resamples=1000).absolute
