"""Several models, each trained with several seeds: what they reach, and how they differ from one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from syncrec.errors import ArtifactError, UnknownNameError
from syncrec.evaluation.comparison import Contestant, Difference, check_comparable, differences
from syncrec.evaluation.groups import choose_answer
from syncrec.evaluation.metrics import MACRO, METRICS, check_metric
from syncrec.evaluation.results import Estimate, EvaluationResult
from syncrec.stats import PairedSample

__all__ = [
    "COMPARISON_KIND",
    "Group",
    "GroupComparison",
    "GroupRow",
    "SeedMean",
    "check_group",
    "compare_groups",
    "seed_mean",
]

COMPARISON_KIND = "comparison"

Groups = Mapping[str, Sequence[EvaluationResult]]


@dataclass(frozen=True)
class SeedMean:
    """Mean and standard deviation (n - 1 in the denominator) over training seeds; one seed has no deviation."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Group:
    """What is compared: one answer of one model, trained with these seeds."""

    label: str
    model: str
    answer: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class GroupRow:
    """A group in one domain, or in the mean over domains (`MACRO`): every metric over seeds.

    `difference` is that of the comparison's metric to the baseline; None for the baseline itself.
    """

    group: str
    domain: str
    num_queries: int
    means: Mapping[str, SeedMean]
    difference: Difference | None


@dataclass(frozen=True)
class GroupComparison:
    """Groups in the order given, the label of the baseline, and rows by domain, those of `MACRO` last."""

    groups: tuple[Group, ...]
    baseline: str
    metric: str
    estimate: Estimate
    protocol: str
    split: str
    negatives_seed: int
    dataset_checksum: str
    rows: tuple[GroupRow, ...]

    def content(self) -> dict[str, Any]:
        """Everything as plain values for JSON; a relative difference to a baseline of 0 has null for infinity."""
        names = ("baseline", "metric", "estimate", "protocol", "split", "negatives_seed", "dataset_checksum")
        return {
            "kind": COMPARISON_KIND,
            **{name: getattr(self, name) for name in names},
            "groups": [{**vars(group), "seeds": list(group.seeds)} for group in self.groups],
            "rows": [_row_content(row) for row in self.rows],
        }


def compare_groups(
    groups: Groups,
    baseline: str | None = None,
    metric: str = "ndcg@10",
    answers: Mapping[str, str] | str | None = None,
    *,
    estimate: Estimate = "drawn",
    seed: int = 0,
    names: Mapping[str, Sequence[str]] | None = None,
) -> GroupComparison:
    """Means over seeds of every group, and the paired difference of each to the baseline.

    Groups meet over the same queries. Where two groups have the same seeds, each meets its like, as two answers of
    one run must; else seeds are independent, and their numbers may differ. Intervals and p-values are over users and
    seeds; p-values are corrected for the number of domains (Holm), not for that of groups.

    Args:
        groups: label -> the results of one model, one a training seed.
        baseline: the label of what the others are measured against; the first by default.
        metric: of the differences, a name in `METRICS`.
        answers: label -> answer, or one for all; see `choose_answer`.
        estimate: of sampled protocols, `expected` leaves out the noise of the draw.
        seed: of the resampling.
        names: label -> what to call each of its results in an error, for example its file.

    Raises:
        ArtifactError: results are of other queries or protocols, or a group is empty, of two models, or holds a seed
            twice.
        UnknownNameError: there is no such metric, group or answer.
    """
    check_metric(metric)
    called = {label: list(names[label]) if names else _names(label, results) for label, results in groups.items()}
    check_comparable([r for results in groups.values() for r in results], [n for own in called.values() for n in own])
    for label, results in groups.items():
        check_group(label, results, called[label])
    baseline = _known_group(groups, baseline)
    chosen = {label: _answer(label, results[0], answers) for label, results in groups.items()}
    contestants = {label: Contestant(results, chosen[label]) for label, results in groups.items()}
    first = groups[baseline][0]
    return GroupComparison(
        groups=tuple(_group(label, contestant) for label, contestant in contestants.items()),
        baseline=baseline,
        metric=metric,
        estimate=estimate,
        protocol=first.protocol,
        split=first.split,
        negatives_seed=first.negatives_seed,
        dataset_checksum=first.dataset_checksum,
        rows=tuple(_rows(contestants, baseline, metric, estimate, seed)),
    )


def seed_mean(values: Sequence[float]) -> SeedMean:
    """Of one or more values, one a seed."""
    return SeedMean(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _names(label: str, results: Sequence[EvaluationResult]) -> list[str]:
    return [f"{label} seed {result.provenance.seed}" for result in results]


def check_group(label: str, results: Sequence[EvaluationResult], names: Sequence[str]) -> None:
    """Make sure that `results` are different training seeds of one model; `names` are what to call them in an error.

    Raises:
        ArtifactError: they are not, or there is none.
    """
    if not results:
        raise ArtifactError(f"group {label!r} has no results; give at least one, or leave it out")
    first, seeds = results[0].provenance, dict[int, str]()
    for name, provenance in zip(names, (result.provenance for result in results), strict=True):
        if provenance.model != first.model:
            raise ArtifactError(
                f"group {label!r} is of two models, {first.model!r} ({names[0]}) and {provenance.model!r} ({name}); "
                "a group is training seeds of one, give the other another label"
            )
        if provenance.seed in seeds:
            raise ArtifactError(
                f"group {label!r} holds seed {provenance.seed} twice ({seeds[provenance.seed]} and {name}); "
                "give each training seed once, or one of them another label"
            )
        seeds[provenance.seed] = name


def _known_group(groups: Groups, baseline: str | None) -> str:
    if baseline is None:
        return next(iter(groups))
    if baseline not in groups:
        raise UnknownNameError("group", baseline, groups, "the groups are " + ", ".join(groups))
    return baseline


def _answer(label: str, result: EvaluationResult, answers: Mapping[str, str] | str | None) -> str:
    if isinstance(answers, Mapping):
        return answers[label] if label in answers else choose_answer(result)
    return choose_answer(result, answers)


def _group(label: str, contestant: Contestant) -> Group:
    return Group(label, contestant.results[0].provenance.model, contestant.answer, _seeds(contestant))


def _seeds(contestant: Contestant) -> tuple[int, ...]:
    return tuple(sorted(result.provenance.seed for result in contestant.results))


def _rows(
    contestants: Mapping[str, Contestant], baseline: str, metric: str, estimate: Estimate, seed: int
) -> list[GroupRow]:
    first = contestants[baseline].results[0]
    values = {label: contestant.values(metric, estimate) for label, contestant in contestants.items()}
    found: dict[str, Mapping[str, Difference]] = {baseline: {}}
    for label in (label for label in contestants if label != baseline):
        have_same_seeds = _seeds(contestants[label]) == _seeds(contestants[baseline])
        repetitions: Literal["paired", "independent"] = "paired" if have_same_seeds else "independent"
        sample = PairedSample(values[label], values[baseline], repetitions=repetitions)
        domains, macro = differences(first, sample, seed=seed)
        found[label] = {**domains, MACRO: macro}
    means = {label: _means(contestant, estimate) for label, contestant in contestants.items()}
    counts = {domain: number for domain, number in first.num_queries.items() if number}
    return [
        GroupRow(label, domain, number, means[label][domain], found[label].get(domain))
        for domain, number in {**counts, MACRO: len(first.users)}.items()
        for label in contestants
    ]


def _means(contestant: Contestant, estimate: Estimate) -> dict[str, dict[str, SeedMean]]:
    """Of each domain with queries, and of their mean: every metric over seeds."""
    summaries = [result.summary(contestant.answer, estimate) for result in contestant.results]
    places = {domain: [summary.domains[domain] for summary in summaries] for domain in summaries[0].domains}
    places[MACRO] = [summary.macro for summary in summaries]
    return {
        place: {metric: seed_mean([means[metric] for means in seeds]) for metric in METRICS}
        for place, seeds in places.items()
    }


def _row_content(row: GroupRow) -> dict[str, Any]:
    return {
        "group": row.group,
        "domain": row.domain,
        "num_queries": row.num_queries,
        "means": {metric: dict(vars(mean)) for metric, mean in row.means.items()},
        "difference": None if row.difference is None else _difference_content(row.difference),
    }


def _difference_content(difference: Difference) -> dict[str, Any]:
    return {
        "candidate_mean": difference.candidate_mean,
        "baseline_mean": difference.baseline_mean,
        "absolute": difference.absolute.content(),
        "relative": difference.relative.content(),
        "p_value": difference.p_value,
        "verdict": difference.verdict,
    }
