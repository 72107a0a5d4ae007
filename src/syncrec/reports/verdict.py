"""Which service gains by joint training, which loses, and how sure that is: a sentence each, for people who decide."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syncrec.answers import main_answer
from syncrec.evaluation.comparison import Comparison, Contestant, Difference, compare
from syncrec.evaluation.groups import NamedResult, ResultGroups, group_results
from syncrec.evaluation.metrics import MACRO
from syncrec.evaluation.results import EvaluationResult
from syncrec.evaluation.seeds import GroupComparison, check_group, compare_groups
from syncrec.reports.tables import percentages
from syncrec.stats import Interval

__all__ = [
    "DomainVerdict",
    "Verdicts",
    "group_verdicts",
    "has_single_answer",
    "own_verdicts",
    "per_cent",
    "summary_sentence",
    "verdict_lines",
    "verdict_sentence",
    "verdicts_of_groups",
]

_OWN = "the model's own single-domain answer"
_JOINT = "joint training"
# The model that is trained on each domain alone.
_TWIN = "sasrec-single"
_LINKS = {(True, True): "from", (False, True): "by", (True, False): "over", (False, False): "against"}


@dataclass(frozen=True)
class DomainVerdict:
    """What happens to a domain (or, as `MACRO`, to the mean of all) and the sentence that says it."""

    domain: str
    difference: Difference
    sentence: str

    def content(self) -> dict[str, Any]:
        """Plain values for JSON; null stands for a share of nothing."""
        difference = self.difference
        return {
            "domain": self.domain,
            "verdict": difference.verdict,
            "sentence": self.sentence,
            "num_queries": difference.num_queries,
            "baseline": difference.baseline_mean,
            "candidate": difference.candidate_mean,
            "relative": difference.relative.content(),
            "change": list(percentages(difference.relative)),
            "p_value": difference.p_value,
        }


@dataclass(frozen=True)
class Verdicts:
    """One comparison in words: what was compared with what, how, and the outcome by domain and in the mean."""

    candidate: str
    baseline: str
    metric: str
    split: str
    protocol: str
    domains: tuple[DomainVerdict, ...]
    macro: DomainVerdict

    def content(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = ("candidate", "baseline", "metric", "split", "protocol")
        return {
            **{name: getattr(self, name) for name in names},
            "summary": summary_sentence(self),
            "domains": [verdict.content() for verdict in self.domains],
            "macro": self.macro.content(),
        }


def has_single_answer(result: EvaluationResult) -> bool:
    """Whether the result holds a joint answer and the single one to compare it with."""
    return "single" in result.answers and len(result.answers) > 1


def own_verdicts(results: Sequence[EvaluationResult], answer: str, metric: str = "ndcg@10") -> Verdicts:
    """A joint answer against the single answer of the same model; `results` are its training seeds."""
    comparison = compare(Contestant(results, answer), Contestant(results, "single"), metric=metric)
    differences = {**comparison.domains, MACRO: comparison.macro}
    return _verdicts(comparison, f"{answer} answer", _OWN, differences, _JOINT)


def group_verdicts(comparison: GroupComparison, group: str) -> Verdicts:
    """The group called `group` against the baseline of `comparison`, its answer against the baseline's."""
    (baseline,) = (found for found in comparison.groups if found.label == comparison.baseline)
    cause = _JOINT if baseline.model == _TWIN else baseline.label
    found = {row.domain: row.difference for row in comparison.rows if row.group == group and row.difference}
    return _verdicts(comparison, group, comparison.baseline, found, cause)


def verdicts_of_groups(
    results: Sequence[EvaluationResult], names: Sequence[str], metric: str = "ndcg@10"
) -> tuple[list[Verdicts], ResultGroups]:
    """The model of the first result against everything it can be measured against, the best baseline first.

    That is the model trained on each domain alone, if its result is there; the first model's own single answer, for
    the fused and for the cross answer; other models. Results that differ only in the training seed count as one model.

    Args:
        results: of the test split, all of the same queries.
        names: what to call each in an error.
        metric: of the comparisons.

    Raises:
        ArtifactError: a model is there twice with one seed.
    """
    groups = group_results([NamedResult(r, name) for r, name in zip(results, names, strict=True)])
    for label, members in groups.results.items():
        check_group(label, members, groups.names[label])
    first, *others = groups.results
    twins = [label for label in others if groups.results[label][0].provenance.model == _TWIN]
    own = groups.results[first]
    joint = [name for name in ("fused", "cross") if has_single_answer(own[0]) and name in own[0].answers]

    def against(label: str) -> Verdicts:
        pair = {name: groups.results[name] for name in (label, first)}
        called = {name: groups.names[name] for name in pair}
        return group_verdicts(compare_groups(pair, label, metric, groups.answers, names=called), first)

    found = [against(label) for label in twins]
    found += [own_verdicts(own, answer, metric) for answer in joint]
    found += [against(label) for label in others if label not in twins]
    return found, groups


def _verdicts(
    comparison: Comparison | GroupComparison,
    candidate: str,
    baseline: str,
    differences: Mapping[str, Difference],
    cause: str,
) -> Verdicts:
    found = {
        domain: DomainVerdict(domain, difference, verdict_sentence(domain, difference, comparison.metric, cause))
        for domain, difference in differences.items()
    }
    macro = found.pop(MACRO)
    about = comparison.metric, comparison.split, comparison.protocol
    return Verdicts(candidate, baseline, *about, tuple(found.values()), macro)


def verdict_sentence(domain: str, difference: Difference, metric: str = "ndcg@10", cause: str = _JOINT) -> str:
    """What `cause` (joint training, or the change from another model) does to a domain, without statistics' terms."""
    name, relative = metric.upper(), difference.relative
    if (difference.absolute.low, difference.absolute.high) == (0, 0):
        return f"{domain} stays as it is: both answers are equally good."
    if not math.isfinite(relative.estimate):
        outcome = "gains" if difference.verdict == "gains" else "shows no clear change"
        return f"{domain} {outcome}: {name} is {difference.candidate_mean:.4f} where it was 0."
    if difference.verdict == "neutral":
        return f"{domain} shows no clear change: {name} {_change(relative)}."
    low, high = sorted((abs(relative.low), abs(relative.high)))
    interval = f"95 % interval {_span(low, high)}"
    link = _LINKS[difference.verdict == "gains", cause == _JOINT]
    return f"{domain} {difference.verdict} {per_cent(abs(relative.estimate))} {name} {link} {cause}, {interval}."


def _change(relative: Interval) -> str:
    span = _span(relative.low, relative.high, signed=True)
    return f"{per_cent(relative.estimate, signed=True)}, 95 % interval {span}"


def _span(low: float, high: float, *, signed: bool = False) -> str:
    """`3.0 to 9.4 %`; the upper end is open where some resamples of the baseline hold nothing but 0."""
    if not math.isfinite(high):
        return f"from {per_cent(low, signed=signed)} up"
    return f"{per_cent(low, signed=signed, unit=False)} to {per_cent(high, signed=signed)}"


def per_cent(share: float, *, signed: bool = False, unit: bool = True) -> str:
    """A share in per cent: whole from 10 % on, below with one decimal."""
    if not math.isfinite(share):
        return "any"
    value = 100 * share
    digits = 0 if abs(value) >= 9.95 else 1
    text = f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}"
    return f"{text} %" if unit else text


def summary_sentence(verdicts: Verdicts) -> str:
    """How many domains gain, lose, and show no clear change."""
    outcomes = [verdict.difference.verdict for verdict in verdicts.domains]
    gains, loses, total = outcomes.count("gains"), outcomes.count("loses"), len(outcomes)
    if not gains + loses:
        return f"No clear change in any of {total} domains." if total > 1 else "No clear change."
    lost = f"{loses} lose{'s' if loses == 1 else ''}" if loses else "none is seen to lose"
    unclear = total - gains - loses
    rest = f", {unclear} {'shows' if unclear == 1 else 'show'} no clear change" if unclear else ""
    return f"{gains} of {total} domain{'' if total == 1 else 's'} gain{'s' if gains == 1 else ''}, {lost}{rest}."


def verdict_lines(result: EvaluationResult) -> Iterator[str]:
    """The short verdict for the terminal: the fused answer against the single one, a line a domain; else nothing."""
    if not has_single_answer(result):
        return
    verdicts = own_verdicts([result], main_answer(result.answers))
    where = f"{verdicts.split} split"
    if verdicts.split == "validation":
        where = "validation split, which also chose the epoch and the weights, so this is too kind"
    yield f"verdict ({where}): {summary_sentence(verdicts)}"
    marks = {"gains": "+", "loses": "-", "neutral": "="}
    yield from (f"  {marks[v.difference.verdict]} {v.sentence}" for v in verdicts.domains)
