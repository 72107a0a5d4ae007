"""The directory of a training run: effective configuration, what it was trained on, checkpoints, log, results.

| file | content |
|---|---|
| `run.json` | dataset (path and checksum), domains, catalogue sizes, versions; written before the first step |
| `config.toml` | the effective configuration |
| `log.jsonl` | one record an epoch |
| `last.safetensors`, `best.safetensors` | where training stands; the best epoch on validation |
| `results/*.json` | evaluations |
"""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from syncrec import artifacts
from syncrec.checkpoint import load_checkpoint, load_module
from syncrec.config import Config, dump_toml, load_config
from syncrec.data.dataset import Dataset
from syncrec.data.packing import Catalogue
from syncrec.errors import ArtifactError
from syncrec.models.interface import SequentialModel
from syncrec.models.registry import build_model

__all__ = ["BEST_NAME", "LAST_NAME", "LOG_NAME", "RunDirectory", "TrainedModel", "library_versions"]

SCHEMA_VERSION = 1
LAST_NAME = "last.safetensors"
BEST_NAME = "best.safetensors"
LOG_NAME = "log.jsonl"
_INFO_NAME = "run.json"


def library_versions() -> dict[str, str]:
    """Versions of what computes the result."""
    return {"syncrec": version("syncrec"), "python": platform.python_version(), "torch": torch.__version__}


@dataclass(frozen=True)
class TrainedModel:
    """The model of the best epoch, in evaluation mode; `fusion_weights` are w_d of (M13) by domain number, or None."""

    model: SequentialModel
    fusion_weights: tuple[float, ...] | None
    epoch: int


@dataclass(frozen=True)
class RunDirectory:
    """An opened run."""

    path: Path
    config: Config
    info: dict[str, Any]

    @classmethod
    def create(cls, path: Path, config: Config, dataset: Dataset) -> "RunDirectory":
        """A fresh run for `dataset`.

        Raises:
            ArtifactError: `path` holds something already.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            remedy = ", or continue it with --resume" if (path / _INFO_NAME).exists() else ""
            raise ArtifactError(f"{path}: exists already; choose another --out{remedy}")
        info = {
            "kind": "run",
            "schema_version": SCHEMA_VERSION,
            "dataset": os.path.relpath(dataset.path.resolve(), path.resolve()),
            "dataset_checksum": dataset.checksum,
            "domains": list(dataset.domains),
            "item_offsets": list(Catalogue.of(dataset).offsets),
            "versions": library_versions(),
        }
        with artifacts.staged_directory(path) as stage:
            artifacts.write_text(stage / "config.toml", dump_toml(config))
            artifacts.write_json(stage / _INFO_NAME, info)
        return cls(path, config, info)

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """An existing run.

        Raises:
            ArtifactError: `path` is no run, or of another version.
        """
        if not path.is_dir():
            raise ArtifactError(f"{path}: no such run; `syncrec train DATASET --out {path}` makes one")
        if not (path / _INFO_NAME).exists():
            raise ArtifactError(f"{path}: holds no {_INFO_NAME}, so it is no run; `syncrec train` makes one")
        info = artifacts.read_json(path / _INFO_NAME, "what a run was trained on")
        found = (info.get("kind"), info.get("schema_version"))
        if found != ("run", SCHEMA_VERSION):
            raise ArtifactError(f"{path}: is a {found[0]} of version {found[1]}, expected a run of {SCHEMA_VERSION}")
        return cls(path, load_config(path / "config.toml"), info)

    def dataset(self, moved_to: Path | None = None) -> Dataset:
        """The dataset it was trained on.

        Raises:
            ArtifactError: it is gone, altered, or another one.
        """
        place = moved_to or Path(os.path.normpath(self.path / self.info["dataset"]))
        if not place.exists():
            raise ArtifactError(f"{place}: the dataset of run {self.path} is gone; if it was moved, give --dataset")
        dataset = Dataset(place)
        if dataset.checksum != self.info["dataset_checksum"]:
            raise ArtifactError(
                f"{place}: is not the dataset that {self.path} was trained on (checksum differs); "
                "give the right one, or train again"
            )
        return dataset

    @property
    def catalogue(self) -> Catalogue:
        """The sizes the model was built for."""
        return Catalogue(tuple(self.info["item_offsets"]))

    def trained_model(self, device: torch.device) -> TrainedModel:
        """The model of the best epoch so far, on `device`.

        Raises:
            CheckpointError: nothing was trained yet, or the checkpoint does not fit.
        """
        checkpoint = load_checkpoint(self.path / BEST_NAME)
        model = build_model(self.catalogue, self.config.model)
        load_module(model, checkpoint.tensors["model"], str(self.path / BEST_NAME))
        weights = checkpoint.state.get("fusion_weights")
        fusion = None if weights is None else tuple(weights[domain] for domain in self.info["domains"])
        return TrainedModel(model.to(device).eval(), fusion, checkpoint.state["epoch"])
