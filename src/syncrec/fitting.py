"""A training from data to the last checkpoint: choosing on validation data and, if wanted, the second fit."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syncrec.checkpoint import load_module
from syncrec.config import Config
from syncrec.data.catalogue import Catalogue
from syncrec.data.dataset import Dataset
from syncrec.data.packing import PackedBatch, training_batches, training_users
from syncrec.errors import DataError
from syncrec.losses.objective import make_learner
from syncrec.models.affinity import communities_of, domain_affinity
from syncrec.parallel import processes, sum_over_processes
from syncrec.rng import derive_seed
from syncrec.runs import BEST_NAME, FUSION_IS_FINAL, LOG_NAME, REFIT_NAME
from syncrec.shards import load_together, save_together
from syncrec.training.device import choose_device, use_threads
from syncrec.training.loop import Trainer, Validation
from syncrec.training.progress import ProgressStyle
from syncrec.training.tracking import JsonLinesLog, Tracker, make_tracker
from syncrec.training.warm_start import EarlierRun
from syncrec.validation import FUSION_GRID, check_gap_is_measurable, check_table_can_be_shared, validate

__all__ = ["TrainingSession", "check_trainable", "find_communities"]


class TrainingSession:
    """One call of `train`: the trainer with its batches and its validation; making one writes nothing to `path`."""

    def __init__(
        self,
        data: Dataset,
        config: Config,
        path: Path,
        earlier: EarlierRun | None = None,
        communities: Sequence[int] = (),
    ) -> None:
        if earlier is not None:
            earlier.check(config.model, data)
        self.data, self.config, self.path, self.earlier = data, config, path, earlier
        self.catalogue = Catalogue.of(data, communities)
        self.device = choose_device(config.training.device)
        use_threads(config.training.threads)
        check_trainable(data)
        self.queries = data.queries("validation")
        self.fit = self._fit(path, np.asarray(data.train_end))
        check_table_can_be_shared(self.fit.model)
        if config.transfer.gap == "validation":
            check_gap_is_measurable(self.fit.model)

    def run(self, track: Sequence[str], *, show_progress: ProgressStyle) -> bool:
        """Train to the end, or until a signal (false)."""
        if not self.fit.run(track, self._validate, show_progress=show_progress):
            return False
        chosen = self._choose_fusion()
        return self.config.training.refit == "none" or self._refit(chosen, track, show_progress)

    def _fit(self, path: Path, ends: npt.NDArray[np.int64], *, is_second: bool = False) -> "_Fit":
        fit = _Fit(self.data, self.catalogue, self.config, path, self.device, ends)
        if self.earlier is not None:
            self.earlier.give_weights(fit.model, self.data, is_second=is_second)
        return fit

    def _validate(self) -> Validation:
        training, measures = self.config.training, self.config.transfer.gap == "validation"
        return validate(self.fit.model, self.data, self.queries, training, measure_gap=measures)

    def _choose_fusion(self) -> dict[str, Any]:
        """Choose the weights of (M13) for the best epoch from the full grid, on validation data alone.

        Returns:
            the state of the best checkpoint, which then says that these weights are final.
        """
        path = self.path / BEST_NAME
        best = load_together(path, self.fit.model)
        if "fusion_weights" not in best.state:
            return best.state
        if FUSION_IS_FINAL in best.state:
            return best.state
        load_module(self.fit.model, best.tensors["model"], str(path))
        chosen = validate(self.fit.model, self.data, self.queries, self.config.training, FUSION_GRID)
        state = {**best.state, **chosen.extra, FUSION_IS_FINAL: True}
        save_together(path, {"model": self.fit.model}, state)
        return state

    def _refit(self, chosen: dict[str, Any], track: Sequence[str], show_progress: ProgressStyle) -> bool:
        """Train anew on training and validation events, as long as `chosen` says; false if stopped by a signal."""
        path = self.path / REFIT_NAME
        path.mkdir(exist_ok=True)
        last_gap = self.fit.trainer.objective.correction.relative_gap
        del self.fit  # on the device there may be room for one model with its moments
        self.fit = fit = self._fit(path, np.asarray(self.data.validation_end), is_second=True)
        if self.config.transfer.gap == "validation":  # there is nothing left to measure it on
            fit.trainer.objective.correction.take(self._chosen_gap(chosen, last_gap))
        is_finished = fit.run(track, None, num_epochs=chosen["epoch"] + 1, show_progress=show_progress)
        if is_finished:
            save_together(path / BEST_NAME, {"model": fit.model}, chosen)
        return is_finished

    def _chosen_gap(self, chosen: dict[str, Any], last: Tensor) -> Tensor:
        """Validation gaps of the chosen epoch [D]; of the `last` one if an earlier version made its checkpoint."""
        if "validation_gap" not in chosen:
            return last
        told = (chosen["validation_gap"][domain] for domain in self.data.domains)
        return torch.tensor([math.nan if gap is None else gap for gap in told], device=self.device)


class _Fit:
    """A fresh model and its training on every user's events before `ends`."""

    def __init__(
        self,
        data: Dataset,
        catalogue: Catalogue,
        config: Config,
        path: Path,
        device: torch.device,
        ends: npt.NDArray[np.int64],
    ) -> None:
        self.data, self.training, self.path, self.ends = data, config.training, path, ends
        self.users = np.flatnonzero(ends > np.asarray(data.user_offsets)[:-1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(config.training.seed, "weights"))
            self.model, objective = make_learner(config, catalogue, np.asarray(data.item_counts))
        self.model.observe(data, ends)
        self.packer = self.model.packer()
        self.trainer = Trainer(self.model, objective, config, path, domains=data.domains, device=device)

    def run(
        self,
        track: Sequence[str],
        validate: Callable[[], Validation] | None,
        *,
        num_epochs: int | None = None,
        show_progress: ProgressStyle,
    ) -> bool:
        """Train to the end, from the last checkpoint on if there is one; false if stopped by a signal."""
        self.trainer.resume()
        trackers = self._trackers(track)
        try:
            return self.trainer.train(
                self._batches,
                -(-len(self.users) // self.training.batch_size),
                validate,
                trackers,
                num_epochs=num_epochs,
                show_progress=show_progress,
            )
        finally:
            for tracker in trackers:
                tracker.close()

    def _trackers(self, track: Sequence[str]) -> list[Tracker]:
        if not processes().is_main:
            return []
        log = JsonLinesLog(self.path / LOG_NAME, self.trainer.state.epoch)
        return [log, *(make_tracker(kind, self.path) for kind in track)]

    def _batches(self, epoch: int, skip: int) -> Iterator[PackedBatch]:
        training, group = self.training, processes()
        share = (group.rank, group.size)
        return training_batches(
            self.data, self.packer, self.users, training.batch_size, training.seed, epoch, skip, self.ends, share=share
        )


def find_communities(data: Dataset, config: Config) -> tuple[int, ...]:
    """Which domains read each other (`model.reads`), as in `Catalogue`; the main process finds out, and all know."""
    if config.model.reads == "all":
        return ()
    found = torch.zeros(data.num_domains, dtype=torch.int64)
    if processes().is_main:
        found += torch.tensor(communities_of(domain_affinity(data, np.asarray(data.train_end))))
    return tuple(sum_over_processes(found).tolist())


def check_trainable(data: Dataset) -> None:
    """See that there is something to train on and something to choose by.

    Raises:
        DataError: there is not.
    """
    num_users, num_targets = len(training_users(data)), len(data.queries("validation"))
    if not num_users or not num_targets:
        raise DataError(
            f"{data.path}: has {num_users} users to train on and {num_targets} validation "
            "targets; both must be at least 1; prepare it with longer histories"
        )
