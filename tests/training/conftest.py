"""Small trainings on the tiny dataset."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from builders import objective_for, small_config
from syncrec.checkpoint import load_checkpoint
from syncrec.data.catalogue import Catalogue
from syncrec.data.packing import BatchPacker, training_batches, training_users
from syncrec.models.registry import build_model
from syncrec.runs import BEST_NAME, LAST_NAME, LOG_NAME
from syncrec.training.loop import Trainer, Validation
from syncrec.training.tracking import read_log

TIMES = {"seconds", "cpu_seconds", "targets_per_second", "peak_memory_bytes"}
SETTINGS = (
    "model.dim=8",
    "model.max_length=6",
    "model.num_experts=2",
    "model.num_cross_experts=1",
    "training.batch_size=10",
    "training.epochs=4",
    "training.warmup_steps=3",
    "training.threads=1",
    "training.precision=float32",
    "training.learning_rate=0.01",
)


@dataclass
class Session:
    """A trainer with its batches, and a validation whose values are given beforehand, one an epoch."""

    trainer: Trainer
    batches: Any
    steps_per_epoch: int
    values: list[float] = field(default_factory=list)
    records: list[dict] = field(default_factory=list)

    def validate(self):
        return Validation(self.values.pop(0) if self.values else 0.0, {"note": "given"})

    def record(self, record):
        self.records.append(record)

    def close(self):
        pass

    def train(self, batches=None):
        return self.trainer.train(
            batches or self.batches, self.steps_per_epoch, self.validate, [self], show_progress=False
        )


@pytest.fixture
def make_session(tiny_dataset, tmp_path):
    """`make_session(values=[...], epochs=3)`: keys of the training section; a `loss` section too."""

    def make(values=(), loss=None, model=None, **training):
        training = {"batch_size": 10, "epochs": 3, "threads": 1, "precision": "float32", **training}
        config = small_config(training=training, loss=loss or {}, model={"num_layers": 1, **(model or {})})
        catalogue = Catalogue.of(tiny_dataset)
        torch.manual_seed(config.training.seed)
        network, objective = build_model(catalogue, config.model), objective_for(config, catalogue)
        users = training_users(tiny_dataset)
        packer = BatchPacker(catalogue, config.model.max_length, network.views)
        batches = partial(_epoch, tiny_dataset, packer, users, config.training)
        place = tmp_path / "run"
        place.mkdir(exist_ok=True)
        trainer = Trainer(network, objective, config, place, domains=tiny_dataset.domains, device=torch.device("cpu"))
        return Session(trainer, batches, -(-len(users) // config.training.batch_size), list(values))

    return make


def _epoch(dataset, packer, users, training, epoch, skip):
    return training_batches(dataset, packer, users, training.batch_size, training.seed, epoch, skip)


@dataclass(frozen=True)
class Outcome:
    """What a run leaves, without the times."""

    last: Any
    best: Any
    log: list[dict]

    @classmethod
    def of(cls, run: Path):
        log = [{k: v for k, v in line.items() if k not in TIMES} for line in read_log(run / LOG_NAME)]
        return cls(load_checkpoint(run / LAST_NAME), load_checkpoint(run / BEST_NAME), log)

    def assert_equals(self, other):
        for have, want in ((self.last, other.last), (self.best, other.best)):
            assert have.state == want.state
            assert set(have.tensors) == set(want.tensors)
            for group, entries in want.tensors.items():
                assert set(have.tensors[group]) == set(entries)
                for name, tensor in entries.items():
                    assert torch.equal(have.tensors[group][name], tensor), f"{group}/{name} differs"
        assert self.log == other.log


@pytest.fixture(scope="session")
def settings():
    return SETTINGS


@pytest.fixture(scope="session")
def undisturbed(tiny_dataset_path, tmp_path_factory):
    """What a run leaves that is never stopped."""
    from syncrec.pipeline import train

    place = tmp_path_factory.mktemp("undisturbed") / "run"
    train(tiny_dataset_path, place, settings=SETTINGS, show_progress=False)
    torch.set_num_threads(1)
    return Outcome.of(place)


@pytest.fixture(scope="session")
def outcome_of():
    return Outcome.of
