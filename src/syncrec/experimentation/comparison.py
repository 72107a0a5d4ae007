"""One arm against the control: lift and difference with always-valid intervals, and how much longer it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from syncrec.experimentation.definition import Definition
from syncrec.experimentation.measures import Measure
from syncrec.stats import (
    Estimate,
    Interval,
    RatioSums,
    difference_of_rates,
    fixed_half_width,
    holm_correction,
    log_ratio_of_rates,
    required_information,
    sequential_half_width,
    sequential_p_value,
)

__all__ = [
    "UNKNOWN",
    "ArmComparison",
    "Look",
    "Outlook",
    "Verdict",
    "compare_arms",
    "interval_of",
    "is_enough",
    "looks",
    "outlook",
    "relative",
]

Verdict = Literal["gains", "loses", "neutral", "too early", "invalid"]
UNKNOWN = Interval(math.nan, -math.inf, math.inf)
_POWER = 0.8
_RECENT_DAYS = 7


@dataclass(frozen=True)
class ArmComparison:
    """An arm against the control in one domain or all (None).

    `lift` (relative, .05 is +5 %) and `difference` (absolute) hold at all looks together, and are NaN and infinite
    where it is too early; `lift_at_one_look` is the
    usual interval, for a single look that was set beforehand. `p_value` is that of the lift, at all looks together;
    `corrected` is for the number of comparisons (Holm).
    """

    arm: str
    domain: str | None
    lift: Interval
    difference: Interval
    lift_at_one_look: Interval
    p_value: float
    corrected: float
    verdict: Verdict


@dataclass(frozen=True)
class Look:
    """What the report said, or would have said, at the end of a day (from 1).

    `error` is the standard error of the lift's logarithm, infinite where nothing is known.
    """

    arm: str
    day: int
    users: int
    lift: Interval
    p_value: float
    error: float


@dataclass(frozen=True)
class Outlook:
    """What it takes to find `minimum_lift` in an arm with a power of 80 %, looking every day.

    `users` are those of arm and control together, with as many impressions each as now; `days_left` at the pace at
    which certainty grew in the last days, None if it does not grow.
    """

    arm: str
    users_now: int
    users_needed: int | None
    days_left: int | None


def compare_arms(definition: Definition, clicks: Measure, domains: Sequence[str | None]) -> list[ArmComparison]:
    """Every arm but the control in each of the `domains`; p-values are corrected for all of these together."""
    arms = [arm for arm in definition.arms if arm != definition.control_arm]
    found = [_compare(definition, clicks, arm, domain) for domain in domains for arm in arms]
    corrected = holm_correction([comparison.p_value for comparison in found])
    return [_judged(definition, one, p_value) for one, p_value in zip(found, corrected, strict=True)]


def _compare(definition: Definition, clicks: Measure, arm: str, domain: str | None) -> ArmComparison:
    treatment, control = clicks.sums(arm, domain), clicks.sums(definition.control_arm, domain)
    if not (is_enough(definition, treatment) and is_enough(definition, control)):
        return ArmComparison(arm, domain, UNKNOWN, UNKNOWN, UNKNOWN, 1.0, 1.0, "too early")
    lift, difference = log_ratio_of_rates(treatment, control), difference_of_rates(treatment, control)
    scale, confidence = definition.lift_scale, definition.confidence
    one_look = float(fixed_half_width(lift.error, confidence))
    return ArmComparison(
        arm,
        domain,
        relative(interval_of(lift, scale, confidence)),
        interval_of(difference, scale * float(control.rate), confidence),
        relative(Interval(float(lift.value), float(lift.value) - one_look, float(lift.value) + one_look)),
        float(sequential_p_value(lift, scale)),
        1.0,
        "neutral",
    )


def is_enough(definition: Definition, sums: RatioSums) -> bool:
    """Whether an arm has the users and clicks without which nothing is concluded.

    Users weigh as their impressions do: a few who are far more active than the rest count as few.
    """
    return bool(sums.effective_units >= definition.min_users and sums.y >= definition.min_clicks)


def interval_of(estimate: Estimate, scale: float, confidence: float) -> Interval:
    """The always-valid interval of one estimate."""
    half = float(sequential_half_width(np.asarray(estimate.error), scale, confidence))
    return Interval(float(estimate.value), float(estimate.value) - half, float(estimate.value) + half)


def relative(interval: Interval) -> Interval:
    """A logarithm of a ratio as a relative change."""
    return Interval(*(math.expm1(min(end, 700.0)) for end in interval))


def _judged(definition: Definition, comparison: ArmComparison, corrected: float) -> ArmComparison:
    verdict = comparison.verdict
    if verdict == "neutral" and corrected < 1 - definition.confidence:
        verdict = "gains" if comparison.lift.estimate > 0 else "loses"
    return replace(comparison, corrected=corrected, verdict=verdict)


def looks(definition: Definition, clicks: Measure, num_days: int) -> list[Look]:
    """The primary comparison as it stood at the end of every day, of each arm but the control."""
    by_day = {arm: clicks.sums_by_day(arm, num_days) for arm in definition.arms}
    control = by_day.pop(definition.control_arm)
    return [
        _look(definition, arm, day, (treatment, base))
        for arm, days in by_day.items()
        for day, (treatment, base) in enumerate(zip(days, control, strict=True), start=1)
    ]


def _look(definition: Definition, arm: str, day: int, sums: tuple[RatioSums, RatioSums]) -> Look:
    users = int(sum(float(part.num_units) for part in sums))
    lift = log_ratio_of_rates(*sums)
    error = float(lift.error)
    if not all(is_enough(definition, part) for part in sums):
        return Look(arm, day, users, UNKNOWN, 1.0, error)
    interval = relative(interval_of(lift, definition.lift_scale, definition.confidence))
    return Look(arm, day, users, interval, float(sequential_p_value(lift, definition.lift_scale)), error)


def outlook(definition: Definition, looks_of_arm: Sequence[Look]) -> Outlook:
    """How many users and days the experiment needs, judged by the looks at one arm so far, of at least one day."""
    last = looks_of_arm[-1]
    if math.isnan(last.lift.estimate) or not last.error:
        return Outlook(last.arm, last.users, None, None)
    effect = math.log1p(definition.minimum_lift)
    needed = required_information(effect, definition.lift_scale, definition.confidence, _POWER)
    information = [0.0, *(look.error**-2 if look.error else math.inf for look in looks_of_arm)]
    recent = min(_RECENT_DAYS, max(1, len(looks_of_arm) // 2))
    now, pace = information[-1], (information[-1] - information[-1 - recent]) / recent
    days_left = 0 if now >= needed else math.ceil((needed - now) / pace) if pace > 0 else None
    return Outlook(last.arm, last.users, math.ceil(last.users * needed / now), days_left)
