"""One training step as the trainer makes it, on batches handed to it, and the clock that it is measured with."""

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from syncrec.config import Config
from syncrec.data.catalogue import Catalogue
from syncrec.data.packing import PackedBatch
from syncrec.losses.objective import make_learner
from syncrec.models.batch import TensorBatch
from syncrec.rng import derive_seed
from syncrec.training.device import choose_precision
from syncrec.training.optimizer import make_optimizer
from syncrec.training.row_updates import clip_gradients

__all__ = ["Clock", "TrainingStep"]


_LONG_S = 0.1


class Clock:
    """Seconds of a function: of the processor where one thread computes, so that other programs do not count."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._counts_cpu = device.type == "cpu" and torch.get_num_threads() == 1

    def seconds(self, function: Callable[[], object], times: int = 5) -> float:
        """The median of `times` calls, after one that warms up; of three if they are long."""
        times = min(times, 3) if self.once(function) > _LONG_S else times
        return median(self.once(function) for _ in range(times))

    def once(self, function: Callable[[], object]) -> float:
        """Of one call."""
        started = self._now()
        function()
        return self._now() - started

    def _now(self) -> float:
        if self._counts_cpu:
            return time.process_time()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


class TrainingStep:
    """A fresh model for `catalogue` with its objective and optimizer."""

    def __init__(
        self,
        catalogue: Catalogue,
        item_counts: np.ndarray[tuple[int], np.dtype[np.int64]],
        config: Config,
        device: torch.device,
        precision: torch.dtype | None = None,
    ) -> None:
        self.config, self.device = config, device
        self.precision = precision or choose_precision(config.training.precision, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(config.training.seed, "weights"))
            model, objective = make_learner(config, catalogue, item_counts)
        self.model, self.objective = model.to(device).train(), objective.to(device).train()
        self.optimizer = make_optimizer([self.model, self.objective], config.training)
        self.packer = self.model.packer()

    def run(self, packed: PackedBatch) -> None:
        """Forward, backward, clipping and update."""
        batch = TensorBatch.of(packed, self.device)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            report = self.objective(self.model, batch, torch.Generator().manual_seed(0))
        self.optimizer.zero_grad(set_to_none=True)
        report.total.backward()
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        clip_gradients(parameters, self.config.training.gradient_clip)
        self.optimizer.step()
