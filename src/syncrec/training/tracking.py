"""Where the story of a training run goes: JSON lines always, TensorBoard or MLflow if asked for."""

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from syncrec import artifacts
from syncrec.errors import ArtifactError, ConfigError, MissingCapabilityError

__all__ = ["JsonLinesLog", "Tracker", "check_tracker", "make_tracker", "read_log"]


_PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboard", "track"),
    "mlflow": ("mlflow", "mlflow-skinny", "mlflow"),
}


class Tracker(Protocol):
    """Receives one record an epoch."""

    def record(self, record: Mapping[str, Any]) -> None:
        """Take the record of an epoch; `record["step"]` is the number of steps so far."""

    def close(self) -> None:
        """Flush and let go."""


class JsonLinesLog:
    """`log.jsonl`: one line an epoch. A resumed run first drops the lines of epochs it will run again."""

    def __init__(self, path: Path, first_epoch: int) -> None:
        self.path = path
        kept = [line for line in read_log(path) if line["epoch"] < first_epoch] if path.exists() else []
        artifacts.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def record(self, record: Mapping[str, Any]) -> None:
        """Append one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def close(self) -> None:
        """Nothing is held open."""


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a `log.jsonl`; a last line that was cut off by a crash is left out.

    Raises:
        ArtifactError: there is no such file, or a line is no record of an epoch.
    """
    records: list[dict[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        raise ArtifactError(f"{path}: no log of a training; restore the file, or train again") from None
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(record, dict) or "epoch" not in record:
            raise ArtifactError(
                f"{path}: line {len(records) + 1} is no record of an epoch (epoch); restore the file, or train again"
            )
        records.append(record)
    return records


class TensorBoardTracker:
    """Every number of a record as a scalar named by its path, under `directory`."""

    def __init__(self, directory: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory))

    def record(self, record: Mapping[str, Any]) -> None:
        """Write the scalars at the record's step."""
        for name, value in _scalars(record):
            self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class MlflowTracker:
    """Every number of a record as a metric of a run of the experiment `syncrec`.

    Kept where MLFLOW_TRACKING_URI says, else in the folder `mlruns` of the run.
    """

    def __init__(self, run: Path) -> None:
        import mlflow

        self._mlflow = mlflow
        if "MLFLOW_TRACKING_URI" not in os.environ:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # without it MLflow 3 wants a database
            mlflow.set_tracking_uri((run / "mlruns").resolve().as_uri())
        try:
            mlflow.set_experiment("syncrec")
            mlflow.start_run(run_name=run.name)
        except mlflow.exceptions.MlflowException as error:
            reason = str(error).strip().splitlines()[0]
            raise MissingCapabilityError(
                f"--track mlflow: {reason}; set MLFLOW_TRACKING_URI to a place that works"
            ) from None

    def record(self, record: Mapping[str, Any]) -> None:
        """Log the metrics at the record's step."""
        metrics = {name.replace("@", "_at_"): float(value) for name, value in _scalars(record)}
        self._mlflow.log_metrics(metrics, step=record["step"])

    def close(self) -> None:
        """End the run."""
        self._mlflow.end_run()


def check_tracker(kind: str) -> None:
    """Refuse a tracker that `make_tracker` could not make.

    Raises:
        ConfigError: no such tracker.
        MissingCapabilityError: its package is not installed.
    """
    if kind not in _PACKAGES:
        raise ConfigError(f"--track must be tensorboard or mlflow, got {kind!r}")
    module, package, extra = _PACKAGES[kind]
    if importlib.util.find_spec(module) is None:
        raise MissingCapabilityError(f"--track {kind} needs the package {package}; pip install 'syncrec[{extra}]'")


def make_tracker(kind: str, run: Path) -> Tracker:
    """The tracker `tensorboard` or `mlflow`.

    Raises:
        ConfigError: no such tracker.
        MissingCapabilityError: its package is not installed.
    """
    check_tracker(kind)
    return TensorBoardTracker(run / "tensorboard") if kind == "tensorboard" else MlflowTracker(run)


def _scalars(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{name}", value
