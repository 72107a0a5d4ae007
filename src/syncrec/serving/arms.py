"""Which run answers whom: everybody the same one, or users as an experiment shares them out."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from syncrec.answers import Answer
from syncrec.errors import ConfigError, SyncrecError
from syncrec.experimentation.lifecycle import Experiment, load_experiment

__all__ = ["ArmChooser", "Choice", "ExperimentArms", "OneArm"]

_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Choice:
    """A served run, the answer of it (None: what the question asks for), and the arm (None: of no experiment)."""

    run: str
    answer: Answer | None = None
    arm: str | None = None


class ArmChooser(Protocol):
    """Says who answers whom."""

    def choose(self, user_id: str | None) -> Choice:
        """For this user, the same every time while the experiment stays; for nobody in particular for None."""


class OneArm:
    """Everybody gets the same run, whose name is the arm."""

    def __init__(self, run: str) -> None:
        self._choice = Choice(run, arm=run)

    def choose(self, user_id: str | None) -> Choice:
        """The one run, whoever asks."""
        del user_id
        return self._choice


class ExperimentArms:
    """Users get what the arm of a running experiment says; who is not in it gets the first run.

    The state of the experiment (`syncrec experiment start`, `ramp`, `stop`) is looked at every second, so no process
    has to be told. If it cannot be read any more, the last one that could stays.
    """

    def __init__(self, path: Path, runs: Mapping[str, Path]) -> None:
        """`path`: the experiment's file; `runs`: the served ones, by name.

        Raises:
            ConfigError: the file is faulty, or an arm has a run that is not served.
            ArtifactError: the state is damaged.
        """
        self._path, self._default = path, next(iter(runs))
        self._experiment, self._looked = load_experiment(path), time.monotonic()
        self._choices = {arm: self._choice(arm, runs) for arm in self._experiment.definition.arms}

    def choose(self, user_id: str | None) -> Choice:
        """What the user's arm says."""
        if user_id is None:
            return Choice(self._default)
        arm = self._current().arm_of(user_id, time.time())
        return Choice(self._default) if arm is None else self._choices[arm]

    def _current(self) -> Experiment:
        if time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._looked = time.monotonic()
            with contextlib.suppress(SyncrecError):
                self._experiment = load_experiment(self._path)
        return self._experiment

    def _choice(self, arm: str, runs: Mapping[str, Path]) -> Choice:
        wanted, answer = self._experiment.run_of(arm), self._experiment.definition.arms[arm].answer
        if wanted is None:
            return Choice(self._default, answer, arm)
        for name, path in runs.items():
            if path.resolve() == wanted.resolve():
                return Choice(name, answer, arm)
        raise ConfigError(f"{self._path}: arms.{arm}.run = {wanted} is not served; served are {', '.join(runs)}")
