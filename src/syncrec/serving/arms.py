"""Which run answers whom: the seam for experiments."""

from typing import Protocol

__all__ = ["ArmChooser", "OneArm"]


class ArmChooser(Protocol):
    """Puts users into arms; the name of an arm is that of a served run."""

    def choose(self, user_id: str | None) -> str:
        """The arm of this user, the same every time; of nobody in particular for None."""


class OneArm:
    """Everybody gets the same run."""

    def __init__(self, name: str) -> None:
        self._name = name

    def choose(self, user_id: str | None) -> str:
        """The one arm, whoever asks."""
        del user_id
        return self._name
