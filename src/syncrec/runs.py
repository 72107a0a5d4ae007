"""The directory of a training run: effective configuration, what it was trained on, checkpoints, log, results.

| file | content |
|---|---|
| `run.json` | dataset (path and checksum), domains, catalogue sizes, versions; written before the first step |
| `config.toml` | the effective configuration |
| `log.jsonl` | one record an epoch |
| `last.safetensors`, `best.safetensors` | where training stands; the best epoch on validation |
| `refit/` | with `training.refit`: the same files of the training on training and validation events together |
| `card.md`, `card.json` | the model card, written when training has ended |
| `results/*.json` | evaluations, removed once training goes on; `transfer-test.json` is what a transfer report asked |
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from syncrec import artifacts
from syncrec.checkpoint import load_module, load_state
from syncrec.config import Config, dump_toml, load_run_config
from syncrec.data.catalogue import Catalogue, named_communities
from syncrec.data.dataset import Dataset
from syncrec.errors import ArtifactError, CheckpointError
from syncrec.models.interface import SequentialModel
from syncrec.models.registry import build_model
from syncrec.parallel import processes
from syncrec.shards import load_together

__all__ = [
    "ANALYSIS_NAME",
    "BEST_NAME",
    "FUSION_IS_FINAL",
    "LAST_NAME",
    "LOG_NAME",
    "REFIT_NAME",
    "RunDirectory",
    "TrainedModel",
    "library_versions",
]

SCHEMA_VERSION = 1
ANALYSIS_NAME = "transfer-test.json"
LAST_NAME = "last.safetensors"
BEST_NAME = "best.safetensors"
LOG_NAME = "log.jsonl"
REFIT_NAME = "refit"
FUSION_IS_FINAL = "fusion_is_final"  # in the state of the best checkpoint, once the full grid has chosen the weights
_INFO_NAME = "run.json"


def library_versions() -> dict[str, str]:
    """Versions of what computes the result."""
    return {"syncrec": version("syncrec"), "python": platform.python_version(), "torch": torch.__version__}


@dataclass(frozen=True)
class TrainedModel:
    """The model that answers, in evaluation mode; `fusion_weights` are w_d of (M13) by domain number, or None."""

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
    def create(
        cls,
        path: Path,
        config: Config,
        dataset: Dataset,
        warm_start: Path | None = None,
        communities: Sequence[int] = (),
    ) -> "RunDirectory":
        """A fresh run for `dataset`, which begins from the run in `warm_start`; `communities` as in `Catalogue`.

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
            "item_offsets": [int(offset) for offset in dataset.item_offsets],
            "communities": list(communities),
            "versions": library_versions(),
            **({} if warm_start is None else {"warm_start": os.path.relpath(warm_start.resolve(), path.resolve())}),
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
            told = "names no kind" if found[0] is None else f"is of a {found[0]} of version {found[1]}"
            raise ArtifactError(
                f"{path}: its {_INFO_NAME} {told}, expected a run of {SCHEMA_VERSION}; `syncrec train` makes one"
            )
        return cls(path, load_run_config(path / "config.toml"), info)

    def dataset(self, moved_to: Path | None = None) -> Dataset:
        """The dataset it was trained on, whose content the main process alone checks.

        Raises:
            ArtifactError: it is gone, altered, or another one.
        """
        place = moved_to or Path(os.path.normpath(self.path / self.info["dataset"]))
        if not place.exists():
            raise ArtifactError(f"{place}: the dataset of run {self.path} is gone; if it was moved, give --dataset")
        dataset = Dataset(place, check_content=processes().is_main)
        if self.is_of_another(dataset):
            raise ArtifactError(
                f"{place}: is not the dataset that {self.path} was trained on (checksum or domain names differ); "
                "give the right one, or train again"
            )
        return dataset

    def is_of_another(self, dataset: Dataset) -> bool:
        """Whether it was begun with another dataset than this one."""
        return dataset.is_other_than(self.info["dataset_checksum"], self.info["domains"])

    @property
    def warm_start(self) -> Path | None:
        """The run it began from."""
        place = self.info.get("warm_start")
        return None if place is None else Path(os.path.normpath(self.path / place))

    @property
    def catalogue(self) -> Catalogue:
        """The sizes the model was built for, and which domains read each other."""
        return Catalogue(tuple(self.info["item_offsets"]), communities=self.communities)

    @property
    def communities(self) -> tuple[int, ...]:
        """The number of each domain's community, as in `Catalogue`; none where all domains read each other."""
        return tuple(self.info.get("communities", ()))

    @property
    def named_communities(self) -> list[list[str]]:
        """Which domains read each other, by name: at least one group."""
        return named_communities(self.catalogue.community_of.tolist(), self.info["domains"])

    def is_finished(self) -> bool:
        """Whether training has ended, with the choice of fusion weights and a second fit (`training.refit`)."""
        last, best = self.path / LAST_NAME, self.path / BEST_NAME
        if self.config.training.refit != "none":
            return (self.path / REFIT_NAME / BEST_NAME).exists()
        if not (last.exists() and best.exists() and load_state(last)["is_finished"]):
            return False
        state = load_state(best)
        return "fusion_weights" not in state or FUSION_IS_FINAL in state

    def needs_its_beginning(self) -> bool:
        """Whether a run that began from another one (`warm_start`) will still take weights from it if it goes on."""
        fits = [self.path] if self.config.training.refit == "none" else [self.path, self.path / REFIT_NAME]
        return not all((fit / LAST_NAME).exists() for fit in fits)

    def forget_results(self) -> None:
        """Remove what was asked of the model as it was: training goes on, or has ended after it."""
        for path in (self.path / "results").glob("*.json"):
            path.unlink()

    def logs(self) -> list[Path]:
        """The logs of its one or two fits; that of the first whether it is there or not."""
        second = self.path / REFIT_NAME / LOG_NAME
        return [self.path / LOG_NAME, *([second] if second.exists() else [])]

    def trained_model(self, device: torch.device, *, for_validation: bool = False) -> TrainedModel:
        """The model to answer with, on `device`: that of the best epoch so far, or the one that was fitted again.

        Args:
            device: where to put it.
            for_validation: the model that has not seen the validation events, whether there is a later one or not.

        Raises:
            CheckpointError: nothing was trained yet, training is not finished where it ends with a second fit, or
                the checkpoint does not fit.
        """
        path = self.path / BEST_NAME
        if self.config.training.refit != "none" and not for_validation:
            path = self.path / REFIT_NAME / BEST_NAME
            if not path.exists() and (self.path / BEST_NAME).exists():
                raise CheckpointError(
                    f"{self.path}: the second fit (training.refit) is not finished; "
                    f"go on with `syncrec train DATASET --out {self.path} --resume`"
                )
        model = build_model(self.catalogue, self.config.model)
        checkpoint = load_together(path, model)
        load_module(model, checkpoint.tensors["model"], str(path))
        weights = checkpoint.state.get("fusion_weights")
        fusion = None if weights is None else tuple(weights[domain] for domain in self.info["domains"])
        return TrainedModel(model.to(device).eval(), fusion, checkpoint.state["epoch"])
