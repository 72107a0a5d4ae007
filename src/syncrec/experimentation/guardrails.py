"""What must not get worse, whatever the primary metric does."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from syncrec.experimentation.comparison import interval_of
from syncrec.experimentation.definition import Definition, Guardrail
from syncrec.experimentation.measures import Measure
from syncrec.stats import Estimate, Interval, RatioSums, difference_of_rates, mixture_scale

__all__ = ["GuardrailResult", "check_guardrail"]

_ABSOLUTE_EFFECT = 0.25


@dataclass(frozen=True)
class GuardrailResult:
    """Whether an arm keeps to a guardrail.

    `beyond` is by how much it is past the bound, in the metric's own unit: negative is on the right side. Its interval
    holds at all looks together. `holds`: the interval is wholly on the right side; `broken`: wholly on the wrong one;
    `open`: neither, or too few users.
    """

    guardrail: str
    arm: str
    value: float
    control: float
    bound: float
    beyond: Interval
    status: Literal["holds", "broken", "open", "no data"]


def check_guardrail(definition: Definition, name: str, arm: str, values: Measure) -> GuardrailResult:
    """The guardrail called `name` for `arm`; the control is held to an absolute limit like any other arm."""
    guardrail = definition.guardrails[name]
    own, control = (values.sums(part, guardrail.domain) for part in (arm, definition.control_arm))
    bound, beyond, scale = _beyond(guardrail, own, control, definition.confidence)
    interval = interval_of(beyond, scale, definition.confidence)
    status: Literal["holds", "broken", "open", "no data"] = "open"
    if not own.x or not control.x:
        status = "no data"
    elif min(own.effective_units, control.effective_units) >= definition.min_users:
        status = "holds" if interval.high <= 0 else "broken" if interval.low > 0 else "open"
    return GuardrailResult(name, arm, float(own.rate), float(control.rate), bound, interval, status)


def _beyond(
    guardrail: Guardrail, own: RatioSums, control: RatioSums, confidence: float
) -> tuple[float, Estimate, float]:
    """The bound, by how much the arm is past it, and the scale of its test."""
    sign = -1.0 if guardrail.metric == "ctr" else 1.0
    if guardrail.max_worsening is not None:
        factor = 1 + sign * guardrail.max_worsening
        value, error = difference_of_rates(own, control, factor)
        bound = factor * float(control.rate)
        effect = guardrail.max_worsening * float(control.rate)
    else:
        bound = float(guardrail.limit or 0.0)
        value, error = own.rate - bound, np.sqrt(own.variance)
        effect = _ABSOLUTE_EFFECT * bound
    scale = mixture_scale(effect or 1.0, confidence)
    return bound, Estimate(sign * value, error), scale
