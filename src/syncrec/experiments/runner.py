"""Runs an experiment to its end, from wherever it stands; everything it makes lies in one directory (`places.py`)."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import IO, Any

from syncrec import artifacts
from syncrec.config import Config, dump_toml, load_config, load_run_config, with_later_settings
from syncrec.data.dataset import Dataset
from syncrec.errors import ArtifactError, ConfigError, LockedError
from syncrec.evaluation import result_path
from syncrec.experiments.findings import Findings, check_settings
from syncrec.experiments.jobs import (
    Job,
    Outcome,
    baseline_command,
    evaluate_command,
    run_queue,
    train_command,
)
from syncrec.experiments.plan import Cell
from syncrec.experiments.search import EarlierTrial, SharedSearch, Taken, earlier_values
from syncrec.experiments.tuning import Tuned

__all__ = ["Experiment"]

Report = Callable[[str], None]


@dataclass
class Experiment(Findings):
    """A plan and the directory it is carried out in."""

    num_workers: int = 1
    report: Report = print
    joins: bool = False  # work beside other processes in the same directory
    is_leader: bool = field(default=True, init=False)  # false once it has joined a process that does the rest

    def run(self) -> list[str]:
        """Prepare, tune, train and evaluate what is not there yet; the faults of what failed.

        With `joins`, where another process is at work in the directory, only its searches are shared, until they end;
        if that process has ended by then, this one does the rest.

        Raises:
            ArtifactError: another process is at work in the directory, and this one does not join it.
            ConfigError: a dataset, search, run or result in the directory was made otherwise than the plan says.
            KeyboardInterrupt: a signal; call it again to go on.
        """
        if (self.out / "run.json").exists():
            raise ConfigError(f"{self.out}: is a trained run, no directory of an experiment; choose another --out")
        with contextlib.ExitStack() as stack:
            self.is_leader = self._lead(stack)
            if not self.is_leader:
                self.report(f"{self.out}: another process is at work; joining its searches")
                faults = self._tune_all()
                self.is_leader = self._lead(stack)
                if not self.is_leader:
                    return faults
            for name in self.plan.datasets:
                self._prepare(name)
            faults = self._tune_all()
            runs = (self._job(cell) for cell in self.plan.cells() if self.is_ready(cell.dataset, cell.label))
            others = (self._baseline_job(*place) for place in self.plan.baseline_rows())
            jobs = [job for job in (*runs, *others) if job is not None]
            return [*faults, *self._run(jobs, "train")]

    def _lead(self, stack: contextlib.ExitStack) -> bool:
        """Take the directory; false if another process has it and may be joined."""
        try:
            stack.enter_context(artifacts.exclusive(self.out))
        except LockedError:
            if not self.joins:
                raise
            return False
        return True

    # preparing

    def _prepare(self, name: str) -> None:
        entry, path = self.plan.datasets[name], self.dataset_path(name)
        if entry.log is None:
            return
        from syncrec.data.prepare import Source, prepare
        from syncrec.data.sources import find_files

        files = [file.path for file in find_files([Source(str(entry.log))])]
        if path.exists():
            made = Dataset(path, check_content=False).manifest["settings"]
            sources = [{"file": file.name, "domain": None} for file in files]
            wanted = {**entry.prepare.model_dump(mode="json"), "sources": sources}
            if differs := [key for key, value in wanted.items() if made.get(key) != value]:
                raise ConfigError(
                    f"{path}: was prepared with other {', '.join(differs)} than the plan has now; choose another --out"
                )
            self._check_sources(name, files)
            prepared_at = (path / artifacts.MANIFEST_NAME).stat().st_mtime
            for file in (file for file in files if file.stat().st_mtime > prepared_at):
                self.report(f"{file}: changed since {name} was prepared of it; it is read again in another --out alone")
            return
        self.report(f"prepare {name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        prepare([Source(str(entry.log))], path, entry.prepare)
        content = {str(file.resolve()): artifacts.file_checksum(file) for file in files}
        artifacts.write_json(self.places.sources(name), {"sha256": content})

    def _check_sources(self, name: str, files: Sequence[Path]) -> None:
        """See that files of the same names at another place are those that `name` was prepared of.

        Raises:
            ConfigError: their content is another.
        """
        place = self.places.sources(name)
        if not place.exists():  # prepared by an earlier version
            return
        known = artifacts.read_json(place, "sources of a dataset")["sha256"]
        elsewhere = [file for file in files if str(file.resolve()) not in known]
        if other := [file for file in elsewhere if artifacts.file_checksum(file) not in known.values()]:
            raise ConfigError(
                f"{other[0]}: {self.dataset_path(name)} was prepared of {min(known)}, which holds something else; "
                "choose another --out"
            )

    # tuning

    def _tune_all(self) -> list[str]:
        """Spend the budget where it was not spent yet; the faults of searches without a finished trial."""
        rows = [label for label in self.plan.models if self.plan.is_tuned(label)]
        found = [self._tune(dataset, label) for dataset in self.plan.datasets for label in rows]
        return [fault for fault in found if fault]

    def _tune(self, dataset: str, label: str) -> str | None:
        """Search, or see that what was found before is an answer to the same question; the fault if no trial ended."""
        place = self.places.tuning(dataset, label)
        question = {
            "tuning": self.plan.tuning.model_dump(mode="json"),
            "config": self.plan.config(label, self.plan.tuning.seed).model_dump(mode="json"),
        }
        is_prepared = self.dataset_path(dataset).exists()  # not yet where another process that was joined has ended
        of_dataset = {"dataset_checksum": self.dataset(dataset).checksum} if is_prepared else {}
        self._check_question(place, dataset, question, of_dataset)
        if (place / "chosen.json").exists():
            return None
        if not (place / "question.json").exists():
            artifacts.write_json(place / "question.json", {**question, **of_dataset})
        if self.joins or self.num_workers > 1:
            artifacts.need_locks()
        tuned, given_up = self._search(dataset, label)
        what, logs = f"tuning of {dataset} {label}", self.places.log(dataset, label, "trial-N")
        if given_up:
            numbers = ", ".join(str(number + 1) for number in given_up)
            again = f"see {logs}; give the same command again to go on"
            return f"{what}: the training of trial {numbers} was killed each time it was begun; {again}"
        if all(value is None for _, value in tuned.trials):
            return f"{what}: none of {len(tuned.trials)} trials ended; see {logs}; to try again, remove {place}"
        if not (place / "chosen.json").exists():  # a process that has joined may have been the first to see the end
            trials = [{"settings": s, "value": v} for s, v in tuned.trials]
            artifacts.write_json(
                place / "chosen.json", {"chosen": tuned.chosen, "trials": trials, **question, **of_dataset}
            )
            self.report(f"tuned {dataset} {label}: {json.dumps(tuned.chosen)}")
        return None

    def _check_question(
        self, place: Path, dataset: str, question: Mapping[str, Any], of_dataset: Mapping[str, Any]
    ) -> None:
        """See that what lies in `place` is an answer to `question`.

        Raises:
            ConfigError: it is one to another.
        """
        for file in (file for file in (place / "chosen.json", place / "question.json") if file.exists()):
            known = artifacts.read_json(file, "settings of a search")
            if not _is_same(known, question):
                raise ConfigError(
                    f"{place}: was made with other settings than the plan has now; choose another --out, or remove it"
                )
            if any(known.get(key, value) != value for key, value in of_dataset.items()):  # earlier versions did not say
                raise ConfigError(f"{place}: is of another dataset than {dataset} is now; choose another --out")

    def _possible_config(self, label: str, values: dict[str, Any]) -> Config | None:
        """The settings of a trial; None, and a line about it, if they make no sense together."""
        try:
            return self._trial_config(label, values)
        except ConfigError as error:
            self.report(f"tune {label}: {json.dumps(values)} cannot be tried: {error}")
            return None

    def _trial_job(self, dataset: str, label: str, number: int, config: Config, claim: IO[str]) -> Job:
        """The training of a trial, or what is left of it: no command if it is done."""
        run = self.places.trial(dataset, label, number)
        name = f"{dataset} {label} trial {number + 1} of {self.plan.tuning.trials}"
        commands = []
        if not self._is_trained(dataset, run, config):
            file = _write_config(run.with_suffix(".toml"), config)
            commands.append(train_command(self.dataset_path(dataset), run, file))
        return Job(name, commands, self.places.log(dataset, label, run.name), claim=claim)

    def _search(self, dataset: str, label: str) -> tuple[Tuned, Sequence[int]]:
        """Take trials of a search as long as there are any, `num_workers` at a time; and those that were given up."""
        place = self.places.tuning(dataset, label)
        search = SharedSearch(self.plan, label, place, lambda: self._earlier_trials(dataset, label))
        running: dict[str, Taken] = {}
        waits = _Told(self.report, f"tune {dataset} {label}: waiting for what other processes are at")

        def take() -> Job | bool:
            if not self.dataset_path(dataset).exists():
                self._see_that_it_is_prepared(dataset)
                waits()
                return True
            while not isinstance(taken := search.take(), bool):
                if (config := self._possible_config(label, taken.values)) is None:
                    search.finish(taken, None)
                    continue
                job = self._trial_job(dataset, label, taken.number, config, taken.claim)
                running[job.name] = taken
                return job
            if taken and not running:
                waits()
            return taken

        def finished(outcome: Outcome) -> None:
            taken = running.pop(outcome.job.name)
            path = self.places.trial(dataset, label, taken.number)
            if outcome.was_killed:
                search.let_go(taken)
            else:
                search.finish(taken, None if outcome.fault is not None else _best_value(path))
            how = "done" if outcome.fault is None else f"FAILED: {outcome.fault}"
            self.report(f"tune {outcome.job.name}: {how} in {_duration(outcome.seconds)}")

        run_queue(take, self.num_workers, finished)
        return search.result(), search.given_up

    def _see_that_it_is_prepared(self, dataset: str) -> None:
        """See that the process that was joined is there to prepare a dataset.

        Raises:
            ArtifactError: it is not, or the dataset was there and is gone.
        """
        if self.is_leader or self.plan.datasets[dataset].dataset is not None:
            raise ArtifactError(f"{self.dataset_path(dataset)}: is gone; put it back, and give the same command again")
        with contextlib.suppress(LockedError), artifacts.exclusive(self.out):
            if not self.dataset_path(dataset).exists():
                raise ArtifactError(
                    f"{self.dataset_path(dataset)}: the process that was joined ended before it was prepared; "
                    "give the same command again"
                )

    def _earlier_trials(self, dataset: str, label: str) -> list[EarlierTrial]:
        """Trials of an earlier version, which kept no journal: each has its settings beside its run."""
        found = []
        runs = (self.places.trial(dataset, label, number) for number in range(self.plan.tuning.trials))
        begun = list(takewhile(lambda run: run.with_suffix(".toml").exists() or _impossible(run).exists(), runs))
        for run in begun:
            if _impossible(run).exists():
                found.append(EarlierTrial(artifacts.read_json(_impossible(run), "settings of a trial"), None, True))
                continue
            config = load_run_config(run.with_suffix(".toml"))
            is_last = run == begun[-1]
            is_trained = self._is_trained(dataset, run, config)
            value = _best_value(run) if is_trained else None
            found.append(EarlierTrial(earlier_values(self.plan, config), value, is_trained or not is_last))
        return found

    def _trial_config(self, label: str, values: dict[str, Any]) -> Config:
        tuning = self.plan.tuning
        config = self.plan.config(label, tuning.seed, values)
        epochs = [] if tuning.epochs is None else [f"training.epochs={tuning.epochs}"]
        return load_config(None, ["training.refit=none", *epochs], config.model_dump())

    # the grid

    def _job(self, cell: Cell) -> Job | None:
        """What is left to do for a cell, None if nothing is."""
        config = self.plan.config(cell.label, cell.seed, self.chosen(cell.dataset, cell.label))
        run, dataset = self.places.run(cell), self.dataset_path(cell.dataset)
        commands: list[list[str]] = []
        is_trained = self._is_trained(cell.dataset, run, config)
        if not is_trained:
            place = self.places.config(cell)
            commands.append(train_command(dataset, run, _write_config(place, config)))
        for protocol in self.plan.protocols:
            if not is_trained or not result_path(run, "test", protocol).exists():
                commands.append(evaluate_command(run, dataset, protocol))
        return Job(str(cell), commands, self.places.log(cell.dataset, cell.label, run.name), run) if commands else None

    def _baseline_job(self, dataset: str, label: str) -> Job | None:
        """What is left to do for a baseline without a run, None if nothing is; it is made once for all protocols."""
        place, refit, model = self.places.baseline(dataset, label), self.plan.refit(label), self.plan.model_name(label)
        left = []
        for protocol in self.plan.protocols:
            path = result_path(place, "test", protocol)
            if path.exists():
                self.baseline_result(dataset, label, path)
            else:
                left.append(protocol)
        if not left:
            return None
        command = baseline_command(model, self.dataset_path(dataset), left, refit, place)
        return Job(f"{dataset} {label}", [command], self.places.log(dataset, label, "baseline"))

    def _is_trained(self, dataset: str, run: Path, config: Config) -> bool:
        """Whether a run is finished; refuses one with other settings or of another dataset."""
        if not (run / "config.toml").exists():
            return False
        made = load_run_config(run / "config.toml")
        check_settings(made.model_dump(mode="json"), config.model_dump(mode="json"), run)
        from syncrec.runs import RunDirectory

        opened = RunDirectory.open(run)
        self.check_dataset(dataset, opened.info["dataset_checksum"], opened.info["domains"], run)
        return opened.is_finished()

    def _run(self, jobs: Sequence[Job], what: str) -> list[str]:
        """Run jobs, say how each went and how long the rest will take; the faults.

        What a process writes that outlived an earlier call of this one comes when that has ended.
        """
        faults: list[str] = []
        waiting = list(jobs)
        waits = _Told(self.report, f"{what}: waiting for processes that were begun before and are still at work")

        def take() -> Job | bool:
            free = next((job for job in waiting if job.run is None or not artifacts.is_held(job.run)), None)
            if free is None:
                if waiting:
                    waits()
                return bool(waiting)
            waiting.remove(free)
            return free

        begun, done = time.perf_counter(), 0

        def finished(outcome: Outcome) -> None:
            nonlocal done
            done += 1
            if outcome.fault is not None:
                faults.append(f"{outcome.job.name}: {outcome.fault}  ({outcome.job.log})")
            left = (time.perf_counter() - begun) / done * (len(jobs) - done)
            rest = f"; about {_duration(left)} left" if done < len(jobs) else ""
            how = "done" if outcome.fault is None else f"FAILED: {outcome.fault}"
            self.report(f"{what} [{done}/{len(jobs)}] {outcome.job.name}: {how} in {_duration(outcome.seconds)}{rest}")

        run_queue(take, self.num_workers, finished)
        return faults


@dataclass
class _Told:
    """A line that is said once, however often it is true."""

    report: Report
    line: str
    is_told: bool = False

    def __call__(self) -> None:
        if not self.is_told:
            self.report(self.line)
        self.is_told = True


def _is_same(before: Mapping[str, Any], question: Mapping[str, Any]) -> bool:
    """Whether a search was of `question`; settings that there were not then did nothing at these values."""
    found = {key: before.get(key, value) for key, value in question.items()}
    return bool({**found, "config": with_later_settings(found["config"])} == question)


def _impossible(trial: Path) -> Path:
    """Where the settings of a trial are kept that make no configuration."""
    return trial.with_suffix(".json")


def _best_value(run: Path) -> float | None:
    """The validation metric of a run's best epoch."""
    from syncrec.checkpoint import load_state

    best = run / "best.safetensors"
    return float(load_state(best)["value"]) if best.exists() else None


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _write_config(path: Path, config: Config) -> Path:
    artifacts.write_text(path, dump_toml(config))
    return path
