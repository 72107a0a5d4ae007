"""What is to be trained, in numbers, and what one of its steps looks like.

Only counts are known of a log that is planned for, so how users differ is an assumption, `SPREAD`: history lengths are
log-normal, like those of MovieLens and of the Amazon reviews, and a user's events fall into every domain alike.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from syncrec.config import Config
from syncrec.data.catalogue import Catalogue
from syncrec.data.packing import BatchPacker, PackedBatch, PackedView
from syncrec.errors import ConfigError
from syncrec.rng import numpy_generator

__all__ = ["SPREAD", "StepShape", "ViewShape", "Workload", "history_lengths", "sample_batch"]

SPREAD = 0.8
"""Standard deviation of the logarithm of history lengths; 0.8 gives a mean of 106 a tail up to 737."""

_HELD_OUT = 2  # leave-one-out: the last event is for testing, the one before it for validation
_MOST_DRAWN = 512  # users whose packing is computed; a larger batch looks the same, only larger

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ViewShape:
    """The packed rows of one view: `rows` of `length` slots, of which `tokens` hold something."""

    rows: float
    length: int
    tokens: float

    @property
    def slots(self) -> float:
        """What the network computes: every slot of every row."""
        return self.rows * self.length

    @classmethod
    def of(cls, view: PackedView, times: float = 1.0) -> "ViewShape":
        """The shape of a packed view, of `times` as many users."""
        rows, length = view.tokens.shape
        return cls(rows * times, length, float((view.segments >= 0).sum()) * times)


@dataclass(frozen=True)
class StepShape:
    """One step: N `targets` of some `users`, both views, and `anchors`, the pairs (user, domain) that have a target."""

    users: float
    targets: float
    cross: ViewShape
    single: ViewShape
    anchors: float

    @classmethod
    def of(cls, batch: PackedBatch, times: float = 1.0) -> "StepShape":
        """The shape of a packed batch, of `times` as many users."""
        num_domains = len(batch.domain_counts)
        anchors = len(np.unique(batch.users * num_domains + batch.domains))
        num_users = len(np.unique(batch.users))
        cross, single = ViewShape.of(batch.cross, times), ViewShape.of(batch.single, times)
        return cls(num_users * times, len(batch.targets) * times, cross, single, anchors * times)


@dataclass(frozen=True)
class Workload:
    """Users, items, domains and events in all, the settings, and processes that share a step's users.

    Each process takes `training.batch_size` users a step.

    Raises:
        ConfigError: they make no sense together.
    """

    users: int
    items: int
    domains: int
    events: int
    config: Config
    processes: int = 1

    def __post_init__(self) -> None:
        for name in ("users", "items", "domains", "events", "processes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        least = (_HELD_OUT + 1) * self.users
        if self.events < least:
            raise ConfigError(
                f"events must be at least {least:,}, got {self.events:,}: each of {self.users:,} users needs one to "
                "train on, one to validate and one to test; give more events or fewer users"
            )
        if self.items < 2 * self.domains:
            raise ConfigError(f"items must be at least 2 a domain, got {self.items:,} in {self.domains:,} domains")
        model = self.config.model
        if model.name != "syncrec" or model.item_similarity:
            what = "item_similarity = true" if model.item_similarity else f"name = {model.name!r}"
            raise ConfigError(f"a plan is for the model syncrec without item_similarity, got model.{what}")

    @cached_property
    def lengths(self) -> Ints:
        """Training events of the users of a typical batch, [u], ascending."""
        count = min(self.config.training.batch_size, self.users, _MOST_DRAWN)
        return history_lengths(self.events / self.users, count)

    @property
    def events_per_user(self) -> float:
        """Events of a user that a step trains on: at most T + 1 of those in the training part, on average."""
        return float(np.minimum(self.lengths, self.config.model.max_length + 1).mean())

    @property
    def users_a_step(self) -> int:
        """Of one process."""
        return min(self.config.training.batch_size, max(1, self.users // self.processes))

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self.users / (self.users_a_step * self.processes))

    @cached_property
    def step(self) -> StepShape:
        """A typical step of one process."""
        sizes = [self.items // self.domains] * self.domains
        batch = sample_batch(self.lengths, sizes, self.config.model.max_length)
        return StepShape.of(batch, self.users_a_step / len(self.lengths))


def history_lengths(mean: float, count: int, spread: float = SPREAD) -> Ints:
    """Training events of `count` users, at least 1: log-normal quantiles of mean `mean`, less the two held out.

    Quantiles instead of draws: the mean of a batch is that of the log, and more events never give a shorter history.
    """
    quantiles = np.exp(spread * ndtri((np.arange(count) + 0.5) / count))
    return np.maximum(1, np.rint(quantiles / quantiles.mean() * mean).astype(np.int64) - _HELD_OUT)


def sample_batch(lengths: Ints, sizes: Sequence[int], max_length: int, seed: int = 0) -> PackedBatch:
    """A training batch of users with such histories over domains of `sizes` items, packed as for training."""
    random = numpy_generator(seed, "sample-batch")
    catalogue = Catalogue(tuple(int(offset) for offset in np.cumsum([0, *sizes])))
    lengths = np.minimum(lengths, max_length + 1)
    domains = random.integers(0, len(sizes), int(lengths.sum()))
    items = np.asarray(catalogue.offsets)[domains] + (random.random(len(domains)) * np.asarray(sizes)[domains]).astype(
        np.int64
    )
    times = np.arange(len(items), dtype=np.int64) * 3600
    return BatchPacker(catalogue, max_length).training_batch(items, lengths, times)
