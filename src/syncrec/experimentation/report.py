"""The report of an experiment: counts, lifts, guardrails, checks. Made every day, its intervals still hold."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from syncrec.experimentation.adjustment import AdjustedLift, adjusted_lifts
from syncrec.experimentation.comparison import ArmComparison, Look, Outlook, compare_arms, interval_of, looks, outlook
from syncrec.experimentation.definition import Definition
from syncrec.experimentation.guardrails import GuardrailResult, check_guardrail
from syncrec.experimentation.impressions import Observed, observe
from syncrec.experimentation.lifecycle import Experiment
from syncrec.experimentation.measures import Measure, measure
from syncrec.stats import Estimate, Interval, RatioSums, sample_ratio_p_value

__all__ = ["REPORT_KIND", "ArmCounts", "ArmDay", "Report", "SampleRatio", "json_content", "report_experiment"]

REPORT_KIND = "experiment-report"

_MISMATCH_BELOW = 0.001
_MISPLACED_SHARE = 0.01


@dataclass(frozen=True)
class ArmCounts:
    """An arm in one domain or all (None); the interval of its click-through rate holds at all looks together."""

    arm: str
    domain: str | None
    users: int
    impressions: int
    clicks: int
    ctr: Interval


@dataclass(frozen=True)
class ArmDay:
    """The click-through rate of an arm in all domains up to the end of a day (from 1); all intervals hold together."""

    arm: str
    day: int
    ctr: Interval


@dataclass(frozen=True)
class SampleRatio:
    """Users by arm, the shares they should have, and whether they have them (chi-square test, alarm below .001).

    `misplaced` users were answered by another arm than the salt assigns them to; more than 1 % of all is an alarm.
    """

    users: Mapping[str, int]
    shares: Mapping[str, float]
    p_value: float
    misplaced: int

    @property
    def is_mismatch(self) -> bool:
        """If so, something decides who is counted, and no comparison can be trusted."""
        return self.has_other_shares or self.has_misplaced

    @property
    def has_other_shares(self) -> bool:
        """Whether the arms hold other shares of the users than they should, beyond chance."""
        return self.p_value < _MISMATCH_BELOW

    @property
    def has_misplaced(self) -> bool:
        """Whether too many users were answered by another arm than theirs."""
        return self.misplaced > _MISPLACED_SHARE * sum(self.users.values())


@dataclass(frozen=True)
class Report:
    """Everything that the tables show; `overall` is the primary comparison.

    `adjusted` is the same with less noise, from what users did before the experiment; empty if that says nothing.
    """

    name: str
    state: str
    num_days: int
    definition: Definition
    counts: list[ArmCounts]
    days: list[ArmDay]
    overall: list[ArmComparison]
    by_domain: list[ArmComparison]
    adjusted: list[AdjustedLift]
    guardrails: list[GuardrailResult]
    sample_ratio: SampleRatio
    looks: list[Look]
    outlook: list[Outlook]
    left_out: Mapping[str, int]

    def content(self) -> dict[str, Any]:
        """The report as JSON; what is unknown or infinite is null."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["definition"] = self.definition.model_dump(mode="json")
        return {"kind": REPORT_KIND, "schema_version": 1, **json_content(fields)}


def json_content(value: Any) -> Any:
    """Dataclasses and intervals as JSON objects; numbers that are not finite as null."""
    if isinstance(value, Interval):
        return json_content(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return json_content({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {key: json_content(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [json_content(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def report_experiment(experiment: Experiment, events: pl.DataFrame) -> Report:
    """The report on the events that were logged so far.

    Raises:
        DataError: the log has no impression of the experiment.
    """
    definition = experiment.definition
    observed = observe(experiment, events)
    clicks, ratio = measure(observed), _sample_ratio(experiment, observed)
    arms = [arm for arm in definition.arms if arm != definition.control_arm]
    seen = looks(definition, clicks, observed.num_days)
    return Report(
        definition.name,
        experiment.state.phase,
        observed.num_days,
        definition,
        [_counts(definition, clicks, arm, domain) for domain in (None, *clicks.domains) for arm in definition.arms],
        [day for arm in definition.arms for day in _days(definition, clicks, arm, observed.num_days)],
        _trusted(compare_arms(definition, clicks, [None]), ratio),
        _trusted(compare_arms(definition, clicks, clicks.domains), ratio),
        adjusted_lifts(definition, observed, clicks),
        _guardrails(definition, observed, clicks),
        ratio,
        seen,
        [outlook(definition, [look for look in seen if look.arm == arm]) for arm in arms],
        observed.left_out,
    )


def _counts(definition: Definition, clicks: Measure, arm: str, domain: str | None) -> ArmCounts:
    sums = clicks.sums(arm, domain)
    return ArmCounts(arm, domain, int(sums.num_units), int(sums.x), int(sums.y), _rate(definition, sums))


def _days(definition: Definition, clicks: Measure, arm: str, num_days: int) -> list[ArmDay]:
    by_day = clicks.sums_by_day(arm, num_days)
    return [ArmDay(arm, day, _rate(definition, sums)) for day, sums in enumerate(by_day, start=1)]


def _rate(definition: Definition, sums: RatioSums) -> Interval:
    error = sums.variance**0.5
    ctr = interval_of(Estimate(sums.rate, error), definition.lift_scale * float(sums.rate), definition.confidence)
    return Interval(ctr.estimate, max(0.0, ctr.low), min(1.0, ctr.high))


def _guardrails(definition: Definition, observed: Observed, clicks: Measure) -> list[GuardrailResult]:
    found = []
    for name, guardrail in definition.guardrails.items():
        values = clicks if guardrail.metric == "ctr" else measure(observed, guardrail.metric)
        arms = [arm for arm in definition.arms if guardrail.limit is not None or arm != definition.control_arm]
        found += [check_guardrail(definition, name, arm, values) for arm in arms]
    return found


def _sample_ratio(experiment: Experiment, observed: Observed) -> SampleRatio:
    definition, counts = experiment.definition, observed.users_by_arm
    users = {arm: counts.get(arm, 0) for arm in definition.arms}
    pairs = observed.impressions.select("arm", "user").unique()
    misplaced = sum(experiment.assigned_arm(user) != arm for arm, user in pairs.iter_rows())
    p_value = sample_ratio_p_value(list(users.values()), definition.shares)
    return SampleRatio(users, dict(zip(definition.arms, definition.shares, strict=True)), p_value, misplaced)


def _trusted(comparisons: list[ArmComparison], ratio: SampleRatio) -> list[ArmComparison]:
    """No verdict where the arms do not hold the users that they should."""
    return [dataclasses.replace(one, verdict="invalid") if ratio.is_mismatch else one for one in comparisons]
