"""A search of one worker, or of several that share it, on one machine or on several with a common folder.

| file in the search's folder | what |
|---|---|
| `journal.log` | Optuna's journal: every trial with its settings and its value; nothing whole is ever taken out of it |
| `claims/trial-N.lock` | locked by the worker that runs trial N, and by the training itself, as long as they live |
| `.lock`, `journal.lock` | held while a trial is given out; while the journal is read or written |

Trials are given out one at a time, and none once the journal has as many as the plan says. A worker that is killed
loses its lock with its life, on this machine or another one; whoever asks next gets its trial again, with the same
settings, and the training continues from its last checkpoint. So it is with a training that is killed, which a worker
begins again once. The settings of a trial depend on the values that were
known when it was given out: with several workers that is a matter of timing, with one they are always the same.
"""

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from syncrec import artifacts
from syncrec.config import Config
from syncrec.errors import ArtifactError, LockedError
from syncrec.experiments.plan import Plan
from syncrec.experiments.tuning import (
    Tuned,
    Values,
    best_of,
    first_values,
    import_optuna,
    num_random_trials,
    suggest_values,
)
from syncrec.rng import derive_seed

__all__ = ["JOURNAL_NAME", "EarlierTrial", "SharedSearch", "Taken", "earlier_values"]

JOURNAL_NAME = "journal.log"
_STUDY = "search"
_LOCK_POLL_S = 0.01
_MOST_ATTEMPTS = 2


@dataclass(frozen=True)
class Taken:
    """A trial that is this worker's alone until `claim` is closed."""

    number: int
    values: Values
    claim: IO[str]


@dataclass(frozen=True)
class EarlierTrial:
    """A trial of a search from before there was a journal; `value` is None where it was not finished, or failed."""

    values: Values
    value: float | None
    is_finished: bool


class _JournalLock:
    """What Optuna takes while it reads or writes; its own locks stay for 30 seconds where a process is killed."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._file: IO[str] | None = None

    def acquire(self) -> bool:
        while (file := artifacts.claim(self._journal.with_suffix(".lock"))) is None:
            time.sleep(_LOCK_POLL_S)
        self._file = file
        _cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _cut_torn_line(journal: Path) -> None:
    """Take away what a process wrote of a line before it was killed, or the disk was full: Optuna would add to it."""
    with contextlib.suppress(FileNotFoundError), journal.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())


class SharedSearch:
    """The search of the row `label` of a plan, in the folder `place`."""

    def __init__(self, plan: Plan, label: str, place: Path, earlier: Callable[[], list[EarlierTrial]]) -> None:
        """`earlier` is asked once for what lies in `place` from before there was a journal.

        Raises:
            MissingCapabilityError: Optuna is not installed.
        """
        self._plan, self._label, self._place, self._earlier = plan, label, place, earlier
        self._optuna = import_optuna()
        self._study: Any = None
        self._journal = place / JOURNAL_NAME
        self._killed: Counter[int] = Counter()

    @property
    def given_up(self) -> list[int]:
        """Numbers of the trials whose training was killed each time it was begun here; they have not ended."""
        return sorted(number for number, times in self._killed.items() if times >= _MOST_ATTEMPTS)

    def take(self) -> Taken | bool:
        """A trial to run; true if there may be one later, false if all have ended, or are given up.

        Raises:
            ArtifactError: the journal is damaged, or cannot be written.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(artifacts.exclusive(self._place))
            except LockedError:  # another worker is taking one
                return True
            stack.enter_context(artifacts.clear_write_errors(self._journal))
            study = self._open()
            trials = study.get_trials(deepcopy=False)
            state = self._optuna.trial.TrialState
            running = [t for t in trials if t.state == state.RUNNING and t.number not in self.given_up]
            for trial in running:
                if taken := self._take_over(trial):
                    return taken
            waiting = any(trial.state == state.WAITING for trial in trials)
            if waiting or len(trials) < self._plan.tuning.trials:
                return self._ask(sum(trial.state != state.WAITING for trial in trials))
            return bool(running)

    def finish(self, taken: Taken, value: float | None) -> None:
        """Keep the validation metric of a trial, None if it failed, and let it go.

        Raises:
            ArtifactError: the journal cannot be written; the trial will be given out again.
        """
        with taken.claim, artifacts.clear_write_errors(self._journal):
            if value is None:
                self._study.tell(taken.number, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(taken.number, value)

    def let_go(self, taken: Taken) -> None:
        """A trial whose training was killed, which says nothing of its settings: it is given out again, or given up."""
        self._killed[taken.number] += 1
        taken.claim.close()

    def result(self) -> Tuned:
        """The best settings and every trial, in the order in which they were given out."""
        trials = sorted(self._study.get_trials(deepcopy=False), key=lambda trial: trial.number)
        complete = self._optuna.trial.TrialState.COMPLETE
        return best_of([(trial.params, trial.value if trial.state == complete else None) for trial in trials])

    def _open(self) -> Any:
        """The study, made when it is first asked for."""
        if self._study is None:
            lock = _JournalLock(self._journal)
            try:
                journal = self._optuna.storages.journal.JournalFileBackend(str(self._journal), lock)
                storage = self._optuna.storages.JournalStorage(journal)
                self._study = self._optuna.create_study(
                    storage=storage, study_name=_STUDY, direction="maximize", load_if_exists=True
                )
            except json.JSONDecodeError as error:
                raise ArtifactError(
                    f"{self._journal}: is damaged ({error}); remove {self._place} to search anew"
                ) from None
        if not self._study.get_trials(deepcopy=False):
            self._begin()
        return self._study

    def _begin(self) -> None:
        earlier = self._earlier()
        for trial in earlier:
            if not trial.is_finished:
                self._study.enqueue_trial(trial.values)
                continue
            state = self._optuna.trial.TrialState
            self._study.add_trial(
                self._optuna.trial.create_trial(
                    state=state.FAIL if trial.value is None else state.COMPLETE,
                    value=trial.value,
                    params=trial.values,
                    distributions=self._distributions(),
                )
            )
        if not earlier:
            self._study.enqueue_trial(first_values(self._plan, self._label))

    def _distributions(self) -> dict[str, Any]:
        """The space as Optuna writes it, from what a trial that is never run is asked for."""
        trial = self._optuna.create_study(direction="maximize").ask()
        suggest_values(self._plan, trial)
        return dict(trial.distributions)

    def _ask(self, number: int) -> Taken | bool:
        """A new trial, or the first that waits; drawn from a stream of its own, so that no two workers draw alike."""
        claim = self._claim(number)
        if claim is None:
            return True
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        return Taken(trial.number, suggest_values(self._plan, trial), claim)

    def _take_over(self, frozen: Any) -> Taken | None:
        """The trial of a worker that is no more; None while it is there, or if it ended a moment ago."""
        claim = self._claim(frozen.number)
        if claim is None:
            return None
        state = self._study.get_trials(deepcopy=False)[frozen.number].state
        if state != self._optuna.trial.TrialState.RUNNING:
            claim.close()
            return None
        self._study.sampler = self._sampler(frozen.number)
        trial = self._optuna.trial.Trial(self._study, frozen._trial_id)
        return Taken(frozen.number, suggest_values(self._plan, trial), claim)

    def _claim(self, number: int) -> IO[str] | None:
        return artifacts.claim(self._place / "claims" / f"trial-{number:03d}.lock")

    def _sampler(self, number: int) -> Any:
        seed = derive_seed(self._plan.tuning.seed, "tuning", number) % 2**32
        return self._optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=num_random_trials(self._plan), constant_liar=True
        )


def earlier_values(plan: Plan, config: Config) -> Values:
    """The tuned settings in the configuration of a trial."""
    dumped = config.model_dump()
    parts = {key: key.partition(".") for key in plan.tuning.space}
    return {key: dumped[section][name] for key, (section, _, name) in parts.items()}
