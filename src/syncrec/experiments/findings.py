"""What an experiment's directory holds so far: results, logs, what tuning chose."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from syncrec import artifacts
from syncrec.data.dataset import Dataset
from syncrec.errors import ConfigError
from syncrec.evaluation import EvaluationResult, load_result, result_path
from syncrec.experiments.places import Places
from syncrec.experiments.plan import Cell, Plan

__all__ = ["Findings"]


@dataclass
class Findings:
    """A plan and the directory it is carried out in, to be read."""

    plan: Plan
    out: Path
    _datasets: dict[str, Dataset] = field(default_factory=dict, init=False)

    def results(self, dataset: str, protocol: str) -> dict[str, list[EvaluationResult]]:
        """What there is so far: the results of each model, one a seed; of no run that is still to be trained."""
        found = {}
        for label in self.plan.models:
            files = [path for path in self._result_files(dataset, label, protocol) if path.exists()]
            if files:
                found[label] = [self.result(dataset, path) for path in files]
                self._check_seeds(label, files, found[label])
        return found

    def _check_seeds(self, label: str, files: Sequence[Path], results: Sequence[EvaluationResult]) -> None:
        """See that no result of a model is there twice.

        Raises:
            ConfigError: one is.
        """
        places: dict[int, Path] = {}
        for path, result in zip(files, results, strict=True):
            seed = result.provenance.seed
            if seed in places:
                raise ConfigError(
                    f"{path}: is of seed {seed} of {label}, as {places[seed]} is; remove the one in the wrong place, "
                    "and give the command again"
                )
            places[seed] = path

    def result(self, dataset: str, path: Path) -> EvaluationResult:
        """A result file.

        Raises:
            ConfigError: it is of another dataset than the plan's.
        """
        result = load_result(path)
        self.check_dataset(dataset, result.dataset_checksum, result.domains, path)
        return result

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

    def tuning_trials(self, dataset: str, label: str) -> int:
        """How many trials were spent on a model itself."""
        path = self.places.tuning(dataset, label) / "chosen.json"
        return len(artifacts.read_json(path, "chosen settings")["trials"]) if path.exists() else 0

    def cpu_seconds(self, dataset: str, label: str) -> list[float]:
        """CPU seconds of training of each finished run."""
        return [sum(record["cpu_seconds"] for record in records) for records in self._logs(dataset, label)]

    def last_record(self, dataset: str, label: str, seed: int) -> dict[str, Any]:
        """What the log of a run says of the last epoch that was trained; nothing if it has none."""
        records = self._records(dataset, label, seed)
        return records[-1] if records else {}

    def num_parameters(self, dataset: str, label: str) -> int | None:
        """Numbers that the model learns; None for a model that is no run, or without a run so far."""
        run = self.places.run(Cell(dataset, label, self.plan.seeds[0]))
        if not (run / "best.safetensors").exists():
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

    def _result_files(self, dataset: str, label: str, protocol: str) -> list[Path]:
        """Where the results are to be found of what needs no run, or of finished runs."""
        if self.plan.is_baseline(label):
            return [result_path(self.places.baseline(dataset, label), "test", protocol)]
        runs = (self.places.run(Cell(dataset, label, seed)) for seed in self.plan.seeds)
        return [result_path(run, "test", protocol) for run in runs if _is_finished(run)]

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


def _is_finished(run: Path) -> bool:
    """Whether there is a run in this folder whose training has ended."""
    from syncrec.runs import RunDirectory

    return (run / "run.json").exists() and RunDirectory.open(run).is_finished()
