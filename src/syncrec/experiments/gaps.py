"""Does the transfer gap (M8), measured inside the joint model, say what joint training really brings?

The truth is another model: the single-domain twin, trained by itself, against the joint model's cross answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr

from syncrec.answers import main_answer
from syncrec.evaluation import EvaluationResult
from syncrec.experiments.findings import Findings
from syncrec.experiments.plan import Plan
from syncrec.reports.tables import Table

__all__ = ["GapPoint", "correlations", "gap_content", "gap_points", "gap_table", "means_over_seeds"]


@dataclass(frozen=True)
class GapPoint:
    """One domain of one joint run."""

    dataset: str
    seed: int
    domain: str
    inside: float  # phi(d) of (M8), mean over the steps of the last epoch trained, nats
    true: float  # relative change of the metric, the joint cross answer against the twin: 0.05 is 5 % better


def gap_points(experiment: Findings, protocol: str) -> list[GapPoint]:
    """A point for each dataset, seed and domain of which both runs are there; none without a twin in the plan."""
    plan = experiment.plan
    points: list[GapPoint] = []
    for dataset in plan.datasets:
        results = experiment.results(dataset, protocol)
        if plan.twin in results and plan.subject_label in results:
            points += _of_dataset(experiment, dataset, results)
    return points


def _of_dataset(
    experiment: Findings, dataset: str, results: Mapping[str, Sequence[EvaluationResult]]
) -> list[GapPoint]:
    plan = experiment.plan
    twins = {result.provenance.seed: result for result in results[str(plan.twin)]}
    points = []
    for joint in results[plan.subject_label]:
        seed = joint.provenance.seed
        gaps = experiment.last_record(dataset, plan.subject_label, seed).get("transfer_gap", {})
        if seed in twins and "cross" in joint.answers:
            ours, alone = _means(plan, joint, "cross"), _means(plan, twins[seed], main_answer(twins[seed].answers))
            points += [GapPoint(dataset, seed, d, gaps[d], ours[d] / alone[d] - 1) for d in gaps if alone.get(d)]
    return points


def _means(plan: Plan, result: EvaluationResult, answer: str) -> dict[str, float]:
    domains = result.summary(answer, plan.estimate_of(result)).domains
    return {domain: metrics[plan.metric] for domain, metrics in domains.items()}


def correlations(points: Sequence[GapPoint]) -> dict[str, Any]:
    """Pearson's and Spearman's correlation over all points, and over the means of domains; None below three points.

    Seeds of a domain are no independent points, so the p-value is that of the means over seeds. A domain that reads no
    other has a gap of 0 by construction, which foretells nothing: it is left out.
    """
    points = [point for point in points if point.inside]
    means = means_over_seeds(points)
    found: dict[str, Any] = {"points": len(points), "num_domains": len(means), "agree_in_sign": _agreement(means)}
    for name, pairs in (("seeds", [(p.inside, p.true) for p in points]), ("domains", list(means.values()))):
        x, y = np.array(pairs).T if pairs else (np.zeros(0), np.zeros(0))
        is_enough = len(x) >= 3 and np.ptp(x) > 0 and np.ptp(y) > 0
        pearson, spearman = (pearsonr(x, y), spearmanr(x, y)) if is_enough else (None, None)
        found[name] = {
            "pearson": None if pearson is None else float(pearson.statistic),
            "spearman": None if spearman is None else float(spearman.statistic),
        }
        if name == "domains":
            found[name]["pearson_p"] = None if pearson is None else float(pearson.pvalue)
    return found


def means_over_seeds(points: Sequence[GapPoint]) -> dict[tuple[str, str], tuple[float, float]]:
    """Of each (dataset, domain) the mean gap inside, and the mean of what is true."""
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for point in points:
        groups.setdefault((point.dataset, point.domain), []).append((point.inside, point.true))
    return {key: (float(m[0]), float(m[1])) for key, m in ((k, np.mean(v, axis=0)) for k, v in groups.items())}


def _agreement(means: Mapping[Any, tuple[float, float]]) -> float | None:
    """Share of domains in which both have the same sign, of those in which both have one; None if there is none."""
    signed = [inside * true > 0 for inside, true in means.values() if inside * true]
    return float(np.mean(signed)) if signed else None


def gap_table(points: Sequence[GapPoint], metric: str) -> Table:
    """Means over seeds, a line for each dataset and domain."""
    rows = [
        (dataset, domain, f"{inside:+.3f}", f"{100 * true:+.1f} %")
        for (dataset, domain), (inside, true) in means_over_seeds(points).items()
    ]
    columns = ("dataset", "domain", "gap inside (nats)", f"cross against the twin, {metric.upper()}")
    return Table("transfer gap inside the joint model, and what joint training brings", columns, (tuple(rows),))


def gap_content(points: Sequence[GapPoint]) -> dict[str, Any]:
    """Points and correlations as plain values."""
    return {"correlations": correlations(points), "points": [asdict(point) for point in points]}
