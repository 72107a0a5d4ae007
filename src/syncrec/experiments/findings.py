"""What an experiment's directory holds so far: results, logs, what tuning chose."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncrec import artifacts
from syncrec.baselines import is_baseline_result
from syncrec.config import with_later_settings
from syncrec.data.dataset import Dataset
from syncrec.errors import ConfigError
from syncrec.evaluation import EvaluationResult, load_result, result_path
from syncrec.experiments.places import Places
from syncrec.experiments.plan import Cell, Plan

__all__ = ["Findings", "check_settings"]


@dataclass
class Findings:
    """A plan and the directory it is carried out in, to be read."""

    plan: Plan
    out: Path
    _datasets: dict[str, Dataset] = field(default_factory=dict, init=False)

    def results(self, dataset: str, protocol: str) -> dict[str, list[EvaluationResult]]:
        """What there is so far: the results of each model, one a seed; of no run that is still to be trained.

        Raises:
            ConfigError: one is of another dataset, model or seed, or of other settings, than its place says.
        """
        found = {}
        for label in self.plan.models:
            if self.plan.is_baseline(label):
                path = result_path(self.places.baseline(dataset, label), "test", protocol)
                own = [self.baseline_result(dataset, label, path)] if path.exists() else []
            else:
                own = [result for seed in self.plan.seeds if (result := self._result(dataset, label, seed, protocol))]
            if own:
                found[label] = own
        return found

    def missing(self, results: Mapping[str, Sequence[EvaluationResult]]) -> list[str]:
        """What the results of a dataset lack of the plan: a model, or some of its seeds, in words."""
        lacking = []
        for label in self.plan.models:
            seeds = {result.provenance.seed for result in results.get(label, ())}
            left = [] if self.plan.is_baseline(label) else [str(s) for s in self.plan.seeds if s not in seeds]
            if not seeds:
                lacking.append(label)
            elif left:
                lacking.append(f"{label} (seed{'s' if len(left) > 1 else ''} {', '.join(left)})")
        return lacking

    def _result(self, dataset: str, label: str, seed: int, protocol: str) -> EvaluationResult | None:
        """The result of a cell whose run has ended; None if it has not, or its settings are not chosen yet."""
        run = self.places.run(Cell(dataset, label, seed))
        path = result_path(run, "test", protocol)
        if not self.is_ready(dataset, label) or not _is_finished(run) or not path.exists():
            return None
        result = self._of_dataset(dataset, path)
        provenance = result.provenance
        if (provenance.model, provenance.seed) != (self.plan.model_name(label), seed):
            raise ConfigError(
                f"{path}: is of {provenance.model}, seed {provenance.seed}; this is the place of seed {seed} of "
                f"{label}; remove it, and give the command again"
            )
        wanted = self.plan.config(label, seed, self.chosen(dataset, label))
        check_settings(with_later_settings(provenance.config), wanted.model_dump(mode="json"), path)
        return result

    def baseline_result(self, dataset: str, label: str, path: Path) -> EvaluationResult:
        """A result file of a model without a run.

        Raises:
            ConfigError: it is of another dataset than the plan's, or was made otherwise.
        """
        result = self._of_dataset(dataset, path)
        if not is_baseline_result(result, self.plan.model_name(label), self.plan.refit(label)):
            raise ConfigError(f"{path}: was made with other settings than the plan has now; choose another --out")
        return result

    def _of_dataset(self, dataset: str, path: Path) -> EvaluationResult:
        result = load_result(path)
        self.check_dataset(dataset, result.dataset_checksum, result.domains, path)
        return result

    def is_ready(self, dataset: str, label: str) -> bool:
        """Whether a row's settings are known: those that tuning is to choose may not have been found."""
        tuned = self.plan.models[label].like or label
        return not self.plan.is_tuned(tuned) or (self.places.tuning(dataset, tuned) / "chosen.json").exists()

    def dataset(self, name: str) -> Dataset:
        """A dataset of the plan, once it is prepared; its content is not read."""
        if name not in self._datasets:
            self._datasets[name] = Dataset(self.dataset_path(name), check_content=False)
        return self._datasets[name]

    def check_dataset(self, dataset: str, checksum: str, domains: Sequence[str], what: Path) -> None:
        """See that `what` was made of a dataset of the plan, by its checksum and domain names.

        Raises:
            ConfigError: it was not.
        """
        if self.dataset(dataset).is_other_than(checksum, domains):
            raise ConfigError(f"{what}: is of another dataset than {dataset} is now; choose another --out")

    def chosen(self, dataset: str, label: str) -> dict[str, Any]:
        """What tuning chose for a model (or for the one it is `like`); nothing if that is not tuned."""
        tuned = self.plan.models[label].like or label
        path = self.places.tuning(dataset, tuned) / "chosen.json"
        if not self.plan.is_tuned(tuned) or not path.exists():
            return {}
        return dict(artifacts.read_json(path, "chosen settings")["chosen"])

    def effective(self, dataset: str, label: str) -> dict[str, Any]:
        """The same as far as it counts: a row that is `like` another may set a tuned key itself."""
        return {key: self.plan.models[label].settings.get(key, v) for key, v in self.chosen(dataset, label).items()}

    def tuning_trials(self, dataset: str, label: str) -> tuple[int, int]:
        """How many trials were spent on a model itself, and how many of them failed."""
        path = self.places.tuning(dataset, label) / "chosen.json"
        trials = artifacts.read_json(path, "chosen settings")["trials"] if path.exists() else []
        return len(trials), sum(trial["value"] is None for trial in trials)

    def cpu_seconds(self, dataset: str, label: str) -> list[float]:
        """CPU seconds of training of each finished run."""
        return [sum(record["cpu_seconds"] for record in records) for records in self._logs(dataset, label)]

    def last_record(self, dataset: str, label: str, seed: int) -> dict[str, Any]:
        """What the log of a run says of the last epoch that was trained; nothing if it has none."""
        records = self._records(dataset, label, seed)
        return records[-1] if records else {}

    def num_parameters(self, dataset: str, label: str) -> int | None:
        """Numbers that the model learns; None for a model that is no run, or without a run so far."""
        runs = (self.places.run(Cell(dataset, label, seed)) for seed in self.plan.seeds)
        run = next((run for run in runs if (run / "best.safetensors").exists()), None)
        if run is None:
            return None
        from syncrec.models.registry import build_model
        from syncrec.runs import RunDirectory

        opened = RunDirectory.open(run)
        return sum(part.numel() for part in build_model(opened.catalogue, opened.config.model).parameters())

    @property
    def places(self) -> Places:
        """Where everything lies."""
        return Places(self.out)

    def dataset_path(self, name: str) -> Path:
        """Where a dataset of the plan lies once it is prepared."""
        return self.plan.datasets[name].dataset or self.places.dataset(name)

    def _logs(self, dataset: str, label: str) -> Iterator[list[dict[str, Any]]]:
        for seed in self.plan.seeds:
            if _is_finished(self.places.run(Cell(dataset, label, seed))):
                yield self._records(dataset, label, seed)

    def _records(self, dataset: str, label: str, seed: int) -> list[dict[str, Any]]:
        """What the logs of a run say of every epoch, the second fit's after the first's."""
        from syncrec.runs import RunDirectory
        from syncrec.training.tracking import read_log

        logs = RunDirectory.open(self.places.run(Cell(dataset, label, seed))).logs()
        return [record for log in logs for record in read_log(log)]


def check_settings(found: Mapping[str, Any], wanted: Mapping[str, Any], what: Path) -> None:
    """See that `what` has the settings of the plan, both by section.

    Raises:
        ConfigError: it has others; the text names three of them at most.
    """
    if found == wanted:
        return
    pairs = (
        (f"{name}.{key}", found.get(name, {}).get(key), v) for name, own in wanted.items() for key, v in own.items()
    )
    differs = [f"{key} is {old!r}, in the plan {new!r}" for key, old, new in pairs if old != new]
    told = f" ({'; '.join(differs[:3])}{', ...' if len(differs) > 3 else ''})" if differs else ""
    raise ConfigError(f"{what}: was made with other settings than the plan has now{told}; choose another --out")


def _is_finished(run: Path) -> bool:
    """Whether there is a run in this folder whose training has ended."""
    from syncrec.runs import RunDirectory

    return (run / "run.json").exists() and RunDirectory.open(run).is_finished()
