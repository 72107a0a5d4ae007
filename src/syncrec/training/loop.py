"""The training loop.

Every draw of chance in a step is a pure function of (seed, step), so the state between two steps is weights, optimizer
and a few numbers: a run that was killed continues from its last checkpoint to the same final weights.
"""

import inspect
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from syncrec.checkpoint import (
    load_module,
    load_optimizer,
)
from syncrec.config import Config, TrainingConfig
from syncrec.data.packing import PackedBatch
from syncrec.errors import NonFiniteLossError
from syncrec.losses.objective import JointObjective, LossReport
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import SequentialModel
from syncrec.parallel import PendingSum, lost_process_is_clear, processes, sharded_tables, sum_over_processes
from syncrec.rng import derive_seed
from syncrec.runs import BEST_NAME, LAST_NAME
from syncrec.shards import load_together, save_together
from syncrec.training.device import choose_precision, peak_memory_bytes
from syncrec.training.optimizer import learning_rate, make_optimizer
from syncrec.training.progress import ProgressStyle, TrainingProgress
from syncrec.training.row_updates import clip_gradients
from syncrec.training.stopping import StopRequest
from syncrec.training.tracking import Tracker

__all__ = ["Batches", "TrainState", "Trainer", "Validation"]

# Each process moves the buffers by the same numbers. Newer versions of torch have another word for it.
_DDP_OPTIONS = inspect.signature(DistributedDataParallel).parameters
_BUFFERS_STAY: Any = {
    "forward_sync_buffers" if "forward_sync_buffers" in _DDP_OPTIONS else "broadcast_buffers": False,
}

Batches = Callable[[int, int], Iterator[PackedBatch]]
"""(epoch, batches to skip) -> the batches of the epoch."""


@dataclass(frozen=True)
class Validation:
    """`value` decides which epoch is best; `report` goes into the log, `extra` into the best checkpoint's state.

    `gaps` are phi(d) (M8) on the validation targets, nats [D], nan for a domain without any; None: not asked for.
    """

    value: float
    report: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)
    gaps: Sequence[float] | None = None


@dataclass
class TrainState:
    """Where training stands; everything that a checkpoint must hold beside tensors."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    best_value: float | None = None
    best_epoch: int = -1
    stale_epochs: int = 0
    is_finished: bool = False
    sums: dict[str, list[float]] = field(default_factory=dict)  # of the running epoch, as what follows
    seconds: float = 0.0  # in its steps, without what passed between a stop and going on
    cpu_seconds: float = 0.0


class Learner(nn.Module):
    """A model and its objective as one module, which is what averaging gradients over processes wraps.

    Whatever is computed for a step must go through its `forward`: what goes around it is not averaged.
    """

    def __init__(self, model: SequentialModel, objective: JointObjective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: TensorBatch, generator: torch.Generator) -> tuple[Tensor, LossReport]:
        """The total to go backward from, in front of its report."""
        report: LossReport = self.objective(self.model, batch, generator)
        return report.total, replace(report, total=report.total.detach())


class Trainer:
    """Trains one model; `run` is the directory of its checkpoints, which the main process writes.

    Where there are several processes, each takes its share of every batch (`data.packing.training_batches`), gradients
    are summed by DistributedDataParallel, and all processes hold the same weights after every step.
    """

    def __init__(
        self,
        model: SequentialModel,
        objective: JointObjective,
        config: Config,
        run: Path,
        *,
        domains: Sequence[str],
        device: torch.device,
    ) -> None:
        self.model, self.objective = model.to(device), objective.to(device)
        self.config: TrainingConfig = config.training
        self.run = run
        self.domains = list(domains)
        self.device = device
        self.state = TrainState()
        self.precision = choose_precision(config.training.precision, device)
        self.optimizer = make_optimizer([self.model, self.objective], config.training)
        self.processes = processes()
        self._sharded = sharded_tables(self.model)
        self._learner = self._make_learner()
        self._clock = (0.0, 0.0)

    def _make_learner(self) -> nn.Module:
        """Model and objective, with gradients averaged over processes if there are several."""
        learner = Learner(self.model, self.objective)
        if not self.processes.are_several:
            return learner
        own_rows = [f"model.{name}.weight" for name in self._sharded]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(learner, own_rows)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(
            learner,
            **_BUFFERS_STAY,
            find_unused_parameters=True,  # a share of a batch may have no target in a domain, or none at all
            process_group=dist.new_group(),  # of its own: its sums and those of the losses need no common order
        )

    def resume(self) -> bool:
        """Continue from the last checkpoint; false if there is none.

        Raises:
            CheckpointError: it is damaged or fits another model.
        """
        path = self.run / LAST_NAME
        if not path.exists():
            return False
        checkpoint = load_together(path, self.model)
        load_module(self.model, checkpoint.tensors["model"], str(path))
        load_module(self.objective, checkpoint.tensors["objective"], str(path))
        load_optimizer(self.optimizer, checkpoint.tensors.get("optimizer", {}))
        self.state = TrainState(**checkpoint.state)
        return True

    def train(
        self,
        batches: Batches,
        steps_per_epoch: int,
        validate: Callable[[], Validation] | None,
        trackers: Sequence[Tracker],
        *,
        num_epochs: int | None = None,
        show_progress: ProgressStyle = True,
    ) -> bool:
        """Train until the epochs are done, patience ends or a signal comes; false if it was stopped by a signal.

        Args:
            batches: the batches of an epoch.
            steps_per_epoch: how many these are.
            validate: called after an epoch, decides which is best; None: there is nothing to choose.
            trackers: are told of every epoch.
            num_epochs: end after so many of `config.epochs`, on their schedule of learning rates.
            show_progress: as in `pipeline.train`.

        Raises:
            NonFiniteLossError: before the update that would have spoiled the weights.
        """
        state = self.state
        if state.is_finished:
            return True
        stops_at_the_end = False
        last = self.config.epochs if num_epochs is None else num_epochs
        progress = TrainingProgress(last, steps_per_epoch, show_progress if self.processes.is_main else False)
        forked = [self.device] if self.device.type == "cuda" else []
        stop = StopRequest(takes_one=not self.processes.are_several)
        with stop, progress, torch.random.fork_rng(devices=forked), lost_process_is_clear():
            while not state.is_finished and state.epoch < last:
                self._clock = (time.perf_counter(), time.process_time())
                if not self._run_epoch(batches, steps_per_epoch, stop, progress):
                    self._save_last()
                    return False
                record = self._end_epoch(validate)
                for tracker in trackers:
                    tracker.record(record)
                progress.validated(record, self.config.monitor)
                self._save_last()
            stops_at_the_end = bool(sum_over_processes(torch.tensor(int(stop.is_set))))  # one came while validating
        state.is_finished = True
        self._save_last()
        return not stops_at_the_end

    def _run_epoch(self, batches: Batches, steps_per_epoch: int, stop: StopRequest, progress: TrainingProgress) -> bool:
        """The steps of the running epoch that are still to do; false if asked to stop."""
        state, total_steps = self.state, steps_per_epoch * self.config.epochs
        begun, targets = time.perf_counter(), 0
        self.model.train()
        self.objective.train()
        for batch in batches(state.epoch, state.step_in_epoch):
            others_stop = PendingSum(torch.tensor(int(stop.is_set)))
            report = self._step(batch, total_steps)
            targets += batch.num_all_targets or len(batch.targets)
            progress.step(state.epoch, state.step, _shown(report), targets / (time.perf_counter() - begun))
            self._add_time()
            every = self.config.checkpoint_every_steps
            if every and state.step % every == 0:
                self._save_last()
            if int(others_stop.result()) or (stop.is_set and not self.processes.are_several):
                return False
        return True

    def _step(self, packed: PackedBatch, total_steps: int) -> LossReport:
        state = self.state
        own = [self.processes.rank] if self.processes.rank else []
        torch.manual_seed(derive_seed(self.config.seed, "dropout", state.step, *own))
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, "negatives", state.step))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, state.step, total_steps)
        batch = TensorBatch.of(packed, self.device)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            total, report = self._learner(batch, generator)
        self.optimizer.zero_grad(set_to_none=True)
        (total * self.processes.size).backward()  # the mean over processes is then the sum
        self._refuse_non_finite(report)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        sharded = [table.weight for table in self._sharded.values()]
        norm = clip_gradients(parameters, self.config.gradient_clip, sharded)
        if not bool(torch.isfinite(norm)):
            raise self._non_finite("the gradient")
        self.optimizer.step()
        state.step += 1
        state.step_in_epoch += 1
        self._add_up(report)
        return report

    def _refuse_non_finite(self, report: LossReport) -> None:
        if bool(torch.isfinite(report.value)):
            return
        parts = [
            f"the {name} loss of domain {domain}"
            for name, losses in report.domain_losses.items()
            for domain, loss in zip(self.domains, losses.tolist(), strict=True)
            if not torch.isfinite(torch.tensor(loss))
        ]
        if not torch.isfinite(report.mutual_information):
            parts.append("the mutual information loss")
        parts += [f"the {name} loss" for name, loss in report.own_losses.items() if not torch.isfinite(loss)]
        raise self._non_finite(", ".join(parts) or "the weighted sum of the losses")

    def _non_finite(self, what: str) -> NonFiniteLossError:
        return NonFiniteLossError(
            f"step {self.state.step} (epoch {self.state.epoch}): {what} is not finite; the weights were not updated; "
            f"begin a new run with a lower training.learning_rate or with training.precision=float32"
        )

    def _add_up(self, report: LossReport) -> None:
        present = (report.domain_counts > 0).to(torch.float32)
        rows: dict[str, Tensor] = {
            **{f"loss/{name}": loss for name, loss in report.domain_losses.items()},
            **{f"own/{name}": loss[None] for name, loss in report.own_losses.items()},
            "transfer_gap": report.transfer_gap * present,
            "weight": report.weights * present,
            "steps_with_domain": present,
            "total": report.value[None],
            "mutual_information": report.mutual_information[None],
            "targets": report.domain_counts.to(torch.float32),
        }
        for name, row in rows.items():
            before = self.state.sums.get(name, [0.0] * len(row))
            self.state.sums[name] = [a + b for a, b in zip(before, row.tolist(), strict=True)]

    def _add_time(self) -> None:
        """Count what has passed since the last call, or the beginning of the epoch or of its continuation."""
        now = time.perf_counter(), time.process_time()
        self.state.seconds += now[0] - self._clock[0]
        self.state.cpu_seconds += now[1] - self._clock[1]
        self._clock = now

    def _end_epoch(self, validate: Callable[[], Validation] | None) -> dict[str, Any]:
        state = self.state
        record = self._epoch_record()
        is_last = state.epoch + 1 == self.config.epochs
        if validate and (is_last or (state.epoch + 1) % self.config.validate_every == 0):
            self.model.eval()
            self._take_validation(validate(), record)
        record["best"] = {"epoch": state.best_epoch, "value": state.best_value}
        state.epoch, state.step_in_epoch, state.sums = state.epoch + 1, 0, {}
        state.seconds, state.cpu_seconds = 0.0, 0.0
        return record

    def _take_validation(self, validation: Validation, record: dict[str, Any]) -> None:
        state, extra = self.state, dict(validation.extra)
        record["validation"] = validation.report
        if validation.gaps is not None:
            self.objective.correction.take(torch.tensor(validation.gaps, device=self.device))
            told = [None if math.isnan(gap) else gap for gap in validation.gaps]
            record["validation_gap"] = extra["validation_gap"] = dict(zip(self.domains, told, strict=True))
        if state.best_value is None or validation.value > state.best_value:
            state.best_value, state.best_epoch, state.stale_epochs = validation.value, state.epoch, 0
            best = {"epoch": state.epoch, "value": validation.value, **extra}
            save_together(self.run / BEST_NAME, {"model": self.model}, best)
            return
        state.stale_epochs += self.config.validate_every
        state.is_finished = state.stale_epochs >= self.config.patience

    def _epoch_record(self) -> dict[str, Any]:
        state, sums = self.state, self.state.sums
        steps = [max(1.0, count) for count in sums["steps_with_domain"]]

        def by_domain(name: str) -> dict[str, float]:
            return {d: total / n for d, total, n in zip(self.domains, sums[name], steps, strict=True)}

        losses: dict[str, Any] = {name[5:]: by_domain(name) for name in sums if name.startswith("loss/")}
        for name in ("total", "mutual_information", *(name for name in sums if name.startswith("own/"))):
            losses[name.removeprefix("own/")] = sums[name][0] / max(1, state.step_in_epoch)
        contributions = self.objective.contributions
        return {
            "epoch": state.epoch,
            "step": state.step,
            "seconds": round(state.seconds, 3),
            "cpu_seconds": round(state.cpu_seconds, 3),
            "targets_per_second": round(sum(sums["targets"]) / state.seconds, 1),
            "peak_memory_bytes": peak_memory_bytes(self.device),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "loss": losses,
            "transfer_gap": by_domain("transfer_gap"),
            "relative_gap": _named(self.domains, self.objective.correction.relative_gap),
            "weight": by_domain("weight"),
            **({} if contributions is None else {"contribution": _named_rows(self.domains, contributions.values)}),
        }

    def _save_last(self) -> None:
        modules = {"model": self.model, "objective": self.objective}
        save_together(self.run / LAST_NAME, modules, asdict(self.state), self.optimizer)


def _named(names: Sequence[str], values: Tensor) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _named_rows(names: Sequence[str], values: Tensor) -> dict[str, dict[str, float]]:
    return {name: _named(names, row) for name, row in zip(names, values, strict=True)}


def _shown(report: LossReport) -> dict[str, float]:
    shown: dict[str, float] = {name: float(losses.mean()) for name, losses in report.domain_losses.items()}
    own = {name: float(loss) for name, loss in report.own_losses.items()}
    return {**shown, "mim": float(report.mutual_information), **own}
