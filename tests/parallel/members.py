"""What a process does in the tests of this folder; a file of its own, because each process imports it."""

import os
import signal
import traceback
from itertools import islice
from pathlib import Path

import torch

from builders import small_config
from syncrec import fitting, pipeline
from syncrec.baselines import fit_popularity
from syncrec.checkpoint import load_checkpoint
from syncrec.data.dataset import Dataset
from syncrec.evaluation import PROTOCOLS, load_result, result_path
from syncrec.fitting import TrainingSession
from syncrec.parallel import (
    gather_rows,
    gather_strided,
    process_group,
    processes,
    sum_over_processes,
    together,
)
from syncrec.ranker import make_ranker
from syncrec.runs import LAST_NAME
from syncrec.training import loop

NUM_STEPS = 20
RANDOM = {"item_start": "random"}
ITEMS = "embedding.items.weight"
SETTINGS = (
    "model.dim=8",
    "model.max_length=6",
    "model.num_experts=2",
    "model.num_cross_experts=1",
    "model.dropout=0",
    "training.batch_size=10",
    "training.epochs=4",
    "training.threads=1",
    "training.precision=float32",
    "training.checkpoint_every_steps=2",
)


def run(pipe, rank, size, port, function, arguments):
    """Join the others, and send what `function` gives."""
    torch.set_num_threads(1)
    place = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, MASTER_ADDR="127.0.0.1")
    try:
        with process_group():
            pipe.send(function(*arguments))
    except Exception as error:
        error.add_note(traceback.format_exc())
        pipe.send(error)


def steps(dataset_path, out, sections, *, is_averaged=True, is_sharded=False, num_users=None, communities=()):
    """Train for some steps; gives the value of each, the weights of domains after each, and the last weights."""
    if not is_averaged:
        loop.Trainer._make_learner = lambda self: loop.Learner(self.model, self.objective)
    training = {"batch_size": 10, "epochs": 4, "threads": 1, "precision": "float32", **sections.get("training", {})}
    config = small_config(**{**sections, "training": training})
    session = TrainingSession(Dataset(dataset_path), config, Path(out), communities=communities)
    if is_sharded:
        whole, sections = session, {**sections, "model": {**sections["model"], "sharded_items": True}}
        sharded = small_config(**{**sections, "training": training})
        session = TrainingSession(Dataset(dataset_path), sharded, Path(out), communities=communities)
        take_over(whole.fit.model, session.fit.model)
        session.fit.trainer.objective.load_state_dict(whole.fit.trainer.objective.state_dict())
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
    if is_sharded:
        (learned[ITEMS],), _ = gather_rows(learned[ITEMS])
    return {"values": values, "weights": weights, "state": {n: v.numpy() for n, v in learned.items()}}


def take_over(whole, sharded):
    """Give a model with a shared out item table the weights of one with a whole table."""
    weights, table = whole.state_dict(), sharded.embedding.items
    sharded.load_state_dict({**weights, ITEMS: weights[ITEMS][table.start : table.stop]})


def found_communities(dataset_path):
    """Which domains read each other, as the main process alone measures it."""
    fitting.communities_of = lambda _: (0, 1, 0) if processes().is_main else None
    return fitting.find_communities(Dataset(dataset_path), small_config())


def users_seen(dataset_path, out):
    """Items of the targets of each batch of an epoch, as this process gets them."""
    session = TrainingSession(Dataset(dataset_path), small_config(training={"batch_size": 7}), Path(out))
    return [(batch.num_all_targets, batch.targets.tolist()) for batch in session.fit._batches(0, 0)]


def talk():
    """One of everything that processes tell each other."""
    group = processes()
    own = torch.arange(group.rank + 1.0, requires_grad=True)  # 1 row in the first process, 2 in the second, ...
    (rows,), before = gather_rows(own)
    (rows * torch.arange(len(rows))).sum().backward()
    return {
        "sum": sum_over_processes(torch.tensor([group.rank, 1])).tolist(),
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


def validation(dataset_path, out, is_sharded=False):
    """What the session's validation says."""
    session = TrainingSession(Dataset(dataset_path), small_config(model=RANDOM), Path(out))
    if is_sharded:
        whole = session.fit.model
        session = TrainingSession(
            Dataset(dataset_path), small_config(model={**RANDOM, "sharded_items": True}), Path(out)
        )
        take_over(whole, session.fit.model)
    found = session._validate()
    return found.value, found.report, found.extra


def ranks(run_path, draw):
    """The ranks of every protocol, and those among the negatives of `draw`, as plain values."""
    run = pipeline.open_run(run_path)
    found = {protocol: run.evaluate("test", protocol, 3) for protocol in PROTOCOLS}
    for protocol, result in found.items():
        assert values_of(load_result(result_path(run_path, "test", protocol, 3)).answers) == values_of(result.answers)
    ranker = make_ranker(run.trained.model, run.dataset, run.dataset.queries("test"))
    drawn, num_eligible = ranker.ranks(run.trained.fusion_weights, draw)
    few = make_ranker(run.trained.model, run.dataset, run.dataset.queries("test").take(slice(2)))
    return {
        "eligible": num_eligible.tolist(),
        "drawn": values_of(drawn),
        "popularity": values_of(fit_popularity(run.dataset).evaluate("test", "sampled-100").answers),
        "two queries": values_of(few.ranks(run.trained.fusion_weights)[0]),
        **{protocol: values_of(result.answers) for protocol, result in found.items()},
    }


def values_of(answers):
    """Ranks and numbers of items above, by answer."""
    return {
        name: (answer.ranks.tolist(), None if answer.num_above is None else answer.num_above.tolist())
        for name, answer in answers.items()
    }


def ranks_of_equal_items(run_path):
    """Ranks where all items have the same vector."""
    run = pipeline.open_run(run_path)
    with torch.no_grad():
        run.trained.model.embedding.items.weight.copy_(torch.linspace(-1, 1, 8))
    ranker = make_ranker(run.trained.model, run.dataset, run.dataset.queries("test"))
    return ranker.ranks(None)[0]["cross"].ranks.tolist()


def ranks_without_a_number(run_path):
    """Ranks where the last process finds a score that is no number."""
    run, group = pipeline.open_run(run_path), processes()
    ranker = make_ranker(run.trained.model, run.dataset, run.dataset.queries("test"))
    if group.rank == group.size - 1:
        ranker.vectors.items.fill_(torch.nan)
    return ranker.ranks(None)


def warm_start(dataset_path, out, settings, earlier):
    """Train from the weights of `earlier`."""
    pipeline.train(dataset_path, out, settings=settings, warm_start=earlier, show_progress=False)


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
