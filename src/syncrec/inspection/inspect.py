"""`syncrec inspect`: the facts of a dataset, the checks of dataset and runs, and whether there is an error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from syncrec.artifacts import open_manifest
from syncrec.data.checks.checklist import check_dataset, check_shape
from syncrec.data.checks.rule import Check
from syncrec.data.checks.structure import check_checksums
from syncrec.data.dataset import KIND, SCHEMA_VERSION, Dataset
from syncrec.data.facts import DatasetFacts, dataset_facts
from syncrec.evaluation.negatives_check import check_negatives
from syncrec.models.affinity import domain_affinity

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True)
class Inspection:
    """What was found; `runs` holds the checks of each run, `affinity` what domains tell of each other as plain values.

    Where a file was altered or the arrays do not fit each other, `facts` and `affinity` are None and `runs` empty.
    """

    path: str
    facts: DatasetFacts | None
    checks: tuple[Check, ...]
    runs: Mapping[str, tuple[Check, ...]]
    affinity: Mapping[str, Any] | None = None

    @property
    def errors(self) -> list[Check]:
        """Checks of dataset and runs that found an error."""
        every = [*self.checks, *(check for checks in self.runs.values() for check in checks)]
        return [check for check in every if check.is_error]

    def to_json(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        return {
            "dataset": self.path,
            "facts": None if self.facts is None else self.facts.to_json(),
            "affinity": None if self.affinity is None else dict(self.affinity),
            "checks": [check.to_json() for check in self.checks],
            "runs": {path: [check.to_json() for check in checks] for path, checks in self.runs.items()},
            "num_errors": len(self.errors),
        }


def inspect(dataset: str | Path, runs: Sequence[str | Path] = ()) -> Inspection:
    """Compute the facts of a prepared dataset, and check it and the runs trained on it.

    Raises:
        ArtifactError: there is no such dataset or run, or a file of it is missing or of another size.
        CheckpointError: a run has no checkpoint yet.
    """
    path = Path(dataset)
    checks = [check_checksums(path, open_manifest(path, KIND, SCHEMA_VERSION, check_content=False))]
    if checks[0].has_fired:
        return Inspection(str(dataset), None, tuple(checks), {})
    data = Dataset(path, check_content=False)
    checks += check_shape(data)
    if any(check.has_fired for check in checks):
        return Inspection(str(dataset), None, tuple(checks), {})
    checks += [*check_dataset(data), check_negatives(data)]
    affinity = domain_affinity(data, np.asarray(data.train_end)).content(data.domains)
    checked = {str(run): _check_run(run, data) for run in runs}
    return Inspection(str(dataset), dataset_facts(data), tuple(checks), checked, affinity)


def _check_run(run: str | Path, data: Dataset) -> tuple[Check, ...]:
    from syncrec.inspection.run_checks import check_run  # loads torch

    return tuple(check_run(Path(run), data))
