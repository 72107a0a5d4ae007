"""What a check is: a rule with severity, explanation and remedy, and how often it was broken."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Check", "Rule", "Severity"]

Severity = Literal["error", "warning", "info"]
_NUM_EXAMPLES = 3


@dataclass(frozen=True)
class Rule:
    """What a check looks for.

    `severity` is that of a finding: an error makes results wrong, a warning may, an info is worth knowing. `unit` names
    in the plural what is counted, `explanation` says why a finding matters, `remedy` what to do about it.
    """

    name: str
    severity: Severity
    unit: str
    explanation: str
    remedy: str

    def found(self, count: int, total: int, examples: Iterable[str] = (), detail: str = "") -> "Check":
        """The outcome: `count` of `total` broke the rule; of the examples the first three are kept."""
        kept = tuple(example for example, _ in zip(examples, range(_NUM_EXAMPLES), strict=False))
        return Check(self, int(count), int(total), kept, detail)


@dataclass(frozen=True)
class Check:
    """The outcome of a rule; `detail` says more about this finding, empty if there is nothing to say."""

    rule: Rule
    count: int
    total: int
    examples: tuple[str, ...] = ()
    detail: str = ""

    @property
    def has_fired(self) -> bool:
        """Whether anything was found."""
        return self.count > 0

    @property
    def is_error(self) -> bool:
        """Whether it is a finding that makes results wrong."""
        return self.has_fired and self.rule.severity == "error"

    def to_json(self) -> dict[str, Any]:
        """Rule and outcome in one JSON object."""
        own = {"count": self.count, "total": self.total, "examples": list(self.examples), "detail": self.detail}
        return {**asdict(self.rule), "has_fired": self.has_fired, **own}
