"""The answers of a model to one question: what they are called, and which of them stands for it."""

from collections.abc import Iterable
from typing import Literal

__all__ = ["Answer", "main_answer"]

Answer = Literal["fused", "cross", "single"]


def main_answer(names: Iterable[str]) -> str:
    """The answer a model would be deployed with: `fused`, else its first (in a model of two `cross`).

    Raises:
        ValueError: there is none.
    """
    first, *others = names
    return "fused" if "fused" in others else first
