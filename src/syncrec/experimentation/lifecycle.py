"""The state of an experiment (draft, running, stopped; ramp), kept with its history beside the experiment's file.

`books.toml` has its state in `books.state/state.json`, replaced in one step at every change, so that a service reads
the old state or the new one. What decides who sees what and what is tested is frozen by the start: a file that says
otherwise afterwards is refused.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from syncrec import artifacts
from syncrec.config import parse_settings
from syncrec.errors import ArtifactError, ConfigError
from syncrec.experimentation.assignment import arm_index, is_exposed
from syncrec.experimentation.definition import Definition, load_definition

__all__ = ["Change", "Experiment", "State", "load_experiment", "ramp_experiment", "start_experiment", "stop_experiment"]

_FROZEN = ("name", "salt", "arms", "control", "primary", "guardrails", "minimum_lift", "confidence", "min_users")
Phase = Literal["draft", "running", "stopped"]


class Change(BaseModel):
    """One entry of the history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    state: Phase
    ramp: float
    reason: str = ""


class State(BaseModel):
    """Where an experiment stands and how it came there; an empty history is a draft."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["experiment-state"] = "experiment-state"
    schema_version: Literal[1] = 1
    fingerprints: dict[str, str] = Field(default_factory=dict, description="of what the start froze")
    history: tuple[Change, ...] = ()

    @property
    def phase(self) -> Phase:
        """The state now."""
        return self.history[-1].state if self.history else "draft"

    @property
    def ramp(self) -> float:
        """Share of all users who are in the experiment now; 0 for a draft and after the stop."""
        return self.history[-1].ramp if self.phase == "running" else 0.0

    @property
    def started(self) -> datetime | None:
        """When it was started."""
        return self.history[0].at if self.history else None

    @property
    def stopped(self) -> datetime | None:
        """When it was stopped."""
        return self.history[-1].at if self.phase == "stopped" else None


@dataclass(frozen=True)
class Experiment:
    """An experiment and its state, as a service needs it; `path` is the file that defines it."""

    path: Path
    definition: Definition
    state: State

    def arm_of(self, user: str, now_s: float) -> str | None:
        """The arm that answers `user` at this time (unix seconds), or None: the user is not in the experiment.

        It is None for everyone unless the experiment is running and `now_s` is between its planned start and end.
        """
        definition = self.definition
        begins, ends = (time.timestamp() if time else None for time in (definition.start, definition.end))
        is_open = (begins is None or begins <= now_s) and (ends is None or now_s < ends)
        if not is_open or not is_exposed(definition.salt, user, self.state.ramp):
            return None
        return self.assigned_arm(user)

    def assigned_arm(self, user: str) -> str:
        """The arm of `user` in case the user is in the experiment, whatever state it is in."""
        index = arm_index(self.definition.salt, user, self.definition.shares)
        return list(self.definition.arms)[index]

    def run_of(self, arm: str) -> Path | None:
        """The run directory that answers in `arm`; None is the service's own."""
        run = self.definition.arms[arm].run
        return None if run is None else self.path.resolve().parent / run


def load_experiment(path: Path) -> Experiment:
    """The experiment in a TOML file with its state.

    Raises:
        ConfigError: the file is missing or faulty, or was changed in what the start froze.
        ArtifactError: the state is damaged.
    """
    definition = load_definition(path)
    place = _state_path(path)
    state = _read_state(place) if place.exists() else State()
    _check_frozen(definition, state, path)
    return Experiment(path, definition, state)


def start_experiment(path: Path, now: datetime, reason: str = "") -> State:
    """A draft begins to run with the ramp of its file.

    Raises:
        ConfigError: it runs already, or was stopped, or the run of an arm is none.
    """
    remedy = "a stopped experiment stays so: give a new one a name and a salt of its own"

    def change(experiment: Experiment) -> tuple[Phase, float, str]:
        for arm in experiment.definition.arms:
            run = experiment.run_of(arm)
            if run is not None and not (run / "run.json").is_file():
                raise ConfigError(
                    f"{path}: arms.{arm}.run = {run}: is no trained run; correct it before the start, which freezes it"
                )
        return "running", experiment.definition.ramp, reason

    return _change(path, ("draft",), f"cannot be started; {remedy}", now, change)


def ramp_experiment(path: Path, to: float, now: datetime, reason: str = "") -> State:
    """Lets more users in; those who are in stay in their arms.

    Raises:
        ConfigError: it does not run, or `to` is not above the ramp and at most 1.
    """

    def change(experiment: Experiment) -> tuple[Phase, float, str]:
        if not experiment.state.ramp < to <= 1:
            raise ConfigError(
                f"--to must be above the ramp now ({experiment.state.ramp:g}) and at most 1, got {to:g}; "
                "users are let in, not sent away: to end it, use `syncrec experiment stop`"
            )
        return "running", to, reason

    return _change(path, ("running",), "cannot be ramped", now, change)


def stop_experiment(path: Path, now: datetime, reason: str = "") -> State:
    """Ends a running experiment for good.

    Raises:
        ConfigError: it does not run.
    """
    return _change(path, ("running",), "cannot be stopped", now, lambda _: ("stopped", 0.0, reason))


def _change(path: Path, allowed: Sequence[Phase], fault: str, now: datetime, change: Any) -> State:
    """Apply a change under a lock, so that of two at once none is lost."""
    load_experiment(path)  # a faulty file is refused before anything is made
    with artifacts.exclusive(_state_path(path).parent):
        experiment = load_experiment(path)
        state = experiment.state
        if state.phase not in allowed:
            raise ConfigError(f"{path}: the experiment is {_described(state)} and {fault}")
        phase, ramp, reason = change(experiment)
        entry = Change(at=now.astimezone(UTC), state=phase, ramp=ramp, reason=reason)
        frozen = state.fingerprints or _fingerprints(experiment.definition)
        new = state.model_copy(update={"history": (*state.history, entry), "fingerprints": frozen})
        artifacts.write_json(_state_path(path), new.model_dump(mode="json"))
    return new


def _described(state: State) -> str:
    return f"{state.phase} since {state.history[-1].at:%Y-%m-%d %H:%M} UTC" if state.history else state.phase


def _state_path(path: Path) -> Path:
    return path.with_suffix(".state") / "state.json"


def _read_state(place: Path) -> State:
    try:
        return parse_settings(State, artifacts.read_json(place, "state of an experiment"), str(place))
    except ConfigError as error:
        raise ArtifactError(f"the state of the experiment is damaged: {error}") from None


def _fingerprints(definition: Definition) -> dict[str, str]:
    content = definition.model_dump(mode="json", include=set(_FROZEN))
    return {key: hashlib.sha256(repr(value).encode()).hexdigest()[:16] for key, value in content.items()}


def _check_frozen(definition: Definition, state: State, path: Path) -> None:
    now = _fingerprints(definition)
    changed = [key for key, value in state.fingerprints.items() if now.get(key) != value]
    if changed:
        raise ConfigError(
            f"{path}: {', '.join(changed)} changed since the experiment was started; restore it, or give the new "
            "experiment a file, a name and a salt of its own"
        )
