"""What a process does in the tests of this folder; a file of its own, because each process imports it."""

import os
import signal
from itertools import islice
from pathlib import Path

import torch

from builders import small_config
from syncrec import pipeline
from syncrec.checkpoint import load_checkpoint
from syncrec.data.dataset import Dataset
from syncrec.fitting import TrainingSession
from syncrec.parallel import (
    gather_rows,
    gather_strided,
    maximum_over_processes,
    processes,
    sum_over_processes,
    together,
)
from syncrec.runs import LAST_NAME
from syncrec.training import loop

NUM_STEPS = 20


def steps(dataset_path, out, sections, *, is_averaged=True, num_users=None):
    """Train for some steps; gives the value of each, the weights of domains after each, and the last weights."""
    if not is_averaged:
        loop.Trainer._make_learner = lambda self: loop.Learner(self.model, self.objective)
    training = {"batch_size": 10, "epochs": 4, "threads": 1, "precision": "float32", **sections.get("training", {})}
    config = small_config(**{**sections, "training": training})
    session = TrainingSession(Dataset(dataset_path), config, Path(out))
    if num_users is not None:
        session.fit.users = session.fit.users[:num_users]
    fit, values, weights = session.fit, [], []
    fit.model.train()
    fit.trainer.objective.train()
    for epoch in range(config.training.epochs):
        for batch in islice(fit._batches(epoch, 0), NUM_STEPS - len(values)):
            report = fit.trainer._step(batch, NUM_STEPS)
            values.append(float(report.value))
            weights.append(report.weights.tolist())
    learned = {name: value for part in (fit.model, fit.trainer.objective) for name, value in part.state_dict().items()}
    return {"values": values, "weights": weights, "state": {n: v.numpy() for n, v in learned.items()}}


def users_seen(dataset_path, out):
    """Items of the targets of each batch of an epoch, as this process gets them."""
    session = TrainingSession(Dataset(dataset_path), small_config(training={"batch_size": 7}), Path(out))
    return [(batch.num_all_targets, batch.targets.tolist()) for batch in session.fit._batches(0, 0)]


def talk():
    """One of everything that processes tell each other."""
    group = processes()
    own = torch.arange(group.rank + 1.0, requires_grad=True)  # 1 row in the first process, 2 in the second, ...
    rows, before = gather_rows(own)
    (rows * torch.arange(len(rows))).sum().backward()
    return {
        "sum": sum_over_processes(torch.tensor([group.rank, 1])).tolist(),
        "maximum": maximum_over_processes(group.rank == 1),
        "rows": rows.tolist(),
        "before": before,
        "gradient": own.grad.tolist(),
        "strided": gather_strided(torch.arange(7)[group.rank :: group.size]).tolist(),
    }


def fail_in(rank):
    """An action that cannot be done in one of the processes."""

    def action():
        if processes().rank == rank:
            raise FileNotFoundError("no such thing")
        return processes().rank

    return together(action)


def validation(dataset_path, out):
    """What the session's validation says."""
    session = TrainingSession(Dataset(dataset_path), small_config(), Path(out))
    found = session._validate()
    return found.value, found.report, found.extra


def train(dataset_path, out, settings, *, resume=False, killed_in_step=None):
    """The command's training; with `killed_in_step` the last process is gone in that step. Gives the last weights."""
    if killed_in_step is not None:
        step = loop.Trainer._step

        def deadly_step(self, *arguments):
            if self.state.step == killed_in_step and self.processes.rank == self.processes.size - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self, *arguments)

        loop.Trainer._step = deadly_step
    run = pipeline.train(dataset_path, out, settings=settings, resume=resume, show_progress=False)
    state = load_checkpoint(run.path / LAST_NAME)
    return {"epoch": run.trained.epoch, "model": {n: v.numpy() for n, v in state.tensors["model"].items()}}
