"""What is asked of a served run, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncrec.answers import Answer

__all__ = ["Answered", "Filter", "NumberRange", "Past", "Question"]


@dataclass(frozen=True, slots=True)
class Past:
    """An event of a history; unix seconds, None: of the newest time that the model knows."""

    domain: str
    item: str
    timestamp: int | None = None


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Numbers from `minimum` to `maximum`, both included."""

    minimum: float = float("-inf")
    maximum: float = float("inf")


Filter = frozenset[str] | NumberRange


@dataclass(frozen=True, slots=True)
class Question:
    """The best `k` items of `domain` for a user, or after a history, which then takes the place of the user's own.

    `allow`: only these; None: all. `deny`: none of these. `filters`: by attribute of the item table, all must hold.
    """

    domain: str
    k: int = 10
    user: str | None = None
    history: tuple[Past, ...] | None = None
    answer: Answer = "fused"
    exclude_seen: bool = False
    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    filters: Mapping[str, Filter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answered:
    """Items, best first, with their scores; how many items of the history or the lists the run does not know."""

    items: list[str]
    scores: list[float]
    num_unknown_items: int
    is_known_user: bool
