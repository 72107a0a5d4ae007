"""What an online experiment is: a TOML file, typed, frozen, checked at once.

Who answers in which arm, how users are shared out, what is measured, and what must not get worse. What changes while it
runs (draft, running, stopped; the ramp) is not in this file but beside it, see `lifecycle`.
"""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from syncrec.answers import Answer
from syncrec.config import Section, parse_settings, read_toml
from syncrec.stats import mixture_scale

__all__ = ["Arm", "Definition", "Guardrail", "GuardrailMetric", "load_definition"]

GuardrailMetric = Literal["ctr", "empty_answers", "errors", "latency_ms"]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


class Arm(Section):
    """Who answers the users of one arm."""

    share: float = Field(gt=0, le=1, description="of the users in the experiment; shares of all arms sum to 1")
    run: Path | None = Field(None, description="run directory, relative to the experiment's file; none: the default")
    answer: Answer | None = Field(None, description="of the model; none: the default")


class Guardrail(Section):
    """Something that must not get worse, whatever the primary metric does."""

    metric: GuardrailMetric = Field(description="click-through rate, share of empty or of failed answers, mean latency")
    domain: str | None = Field(None, description="of this domain alone; none: of all")
    max_worsening: float | None = Field(
        None, gt=0, lt=1, description="relative to the control: .02 tolerates a rate that is 2 % worse"
    )
    limit: float | None = Field(None, gt=0, description="absolute: the worst rate (or ms) that is tolerated")

    @model_validator(mode="after")
    def _one_bound(self) -> "Guardrail":
        if (self.max_worsening is None) == (self.limit is None):
            raise ValueError("give exactly one of max_worsening and limit")
        return self


class Definition(Section):
    """A whole experiment; the first arm is the control unless `control` names another."""

    name: str = Field(pattern=_NAME, description="letters, digits, dot, dash and underscore")
    salt: str = Field(min_length=1, description="its own for each experiment, so that their users are shared out anew")
    arms: dict[str, Arm] = Field(description="at least two, in the order of the tables")
    control: str | None = Field(None, description="the arm that the others are compared with; none: the first")
    primary: Literal["ctr"] = Field("ctr", description="the metric that decides: clicks over impressions")
    guardrails: dict[str, Guardrail] = Field(default_factory=dict, description="by names of your own")
    minimum_lift: float = Field(
        0.05, gt=0, le=1, description="the smallest relative lift that would matter; tunes the test, never its error"
    )
    confidence: float = Field(0.95, ge=0.5, lt=1, description="of all intervals, at all looks together")
    min_users: int = Field(100, ge=2, description="of each arm, effectively, before anything is concluded")
    min_clicks: int = Field(20, ge=1, description="likewise; the normal distribution needs some")
    ramp: float = Field(1.0, gt=0, le=1, description="share of all users who are in the experiment when it starts")
    start: datetime | None = Field(None, description="no user is in it before; without a zone it is UTC")
    end: datetime | None = Field(None, description="no user is in it from then on")

    @field_validator("start", "end")
    @classmethod
    def _in_utc(cls, time: datetime | None) -> datetime | None:
        return time.replace(tzinfo=UTC) if time and time.tzinfo is None else time

    @model_validator(mode="after")
    def _consistent(self) -> "Definition":
        faults = [fault for fault in self._faults() if fault]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _faults(self) -> list[str]:
        total = math.fsum(arm.share for arm in self.arms.values())
        named = ", ".join(self.arms)
        return [
            f"arms must be at least two, got {len(self.arms)}" if len(self.arms) < 2 else "",
            f"shares of the arms must sum to 1, got {total:g}" if abs(total - 1) > 1e-9 else "",
            f"control must be one of the arms ({named}), got {self.control!r}"
            if self.control is not None and self.control not in self.arms
            else "",
            f"end must be after start, got {self.start} and {self.end}"
            if self.start and self.end and self.end <= self.start
            else "",
        ]

    @property
    def control_arm(self) -> str:
        """The name of the arm that the others are compared with."""
        return self.control or next(iter(self.arms))

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the arms, in their order."""
        return tuple(arm.share for arm in self.arms.values())

    @property
    def lift_scale(self) -> float:
        """Scale of the sequential test of the logarithm of the ratio of two rates; fixed before any data are seen."""
        return mixture_scale(math.log1p(self.minimum_lift), self.confidence)


def load_definition(path: Path) -> Definition:
    """The experiment in a TOML file; run directories as they stand there, relative to the file.

    Raises:
        ConfigError: the file is missing or no TOML; every unknown key and bad value, all at once.
    """
    return parse_settings(Definition, read_toml(path), str(path))
