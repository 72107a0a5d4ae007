"""What a model is built from: which items there are, in which domains, and which of these read each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from syncrec.data.dataset import Dataset
from syncrec.data.ranges import event_ranges

__all__ = ["NUM_PERIODS", "Catalogue", "named_communities"]

NUM_PERIODS = 32
_MOST_TIMES = 1_000_000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Catalogue:
    """What a model is built from: domain d owns item indices `offsets[d]:offsets[d+1]`.

    `period_edges` are times in unix seconds, ascending, that cut the training events into `NUM_PERIODS` parts of equal
    size; none if the model gets them from a checkpoint, or does without. `communities` has for each domain the number
    of its community, from 0: in the cross view a domain reads the events of its community's domains, and of no others;
    none: all domains are one.
    """

    offsets: tuple[int, ...]
    period_edges: tuple[int, ...] = ()
    communities: tuple[int, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset, communities: Sequence[int] = ()) -> "Catalogue":
        """The catalogue of `dataset`."""
        return cls(tuple(int(o) for o in dataset.item_offsets), _period_edges(dataset), tuple(communities))

    @property
    def num_domains(self) -> int:
        """D."""
        return len(self.offsets) - 1

    @property
    def community_of(self) -> Ints:
        """The number of each domain's community [D]."""
        return np.asarray(self.communities or [0] * self.num_domains, dtype=np.int64)

    @property
    def is_alone(self) -> npt.NDArray[np.bool_]:
        """Which of several domains are a community by themselves, so that both their views are the same [D]."""
        sizes = np.bincount(self.community_of)
        return np.asarray((sizes[self.community_of] == 1) & (len(sizes) > 1))

    @property
    def num_items(self) -> int:
        """I, over all domains."""
        return self.offsets[-1]

    @property
    def num_tokens(self) -> int:
        """Items and the D + 1 start tokens."""
        return self.num_items + self.num_domains + 1


def named_communities(numbers: Sequence[int], domains: Sequence[str]) -> list[list[str]]:
    """The names of the domains of each community, in the order of their numbers."""
    pairs = list(zip(numbers, domains, strict=True))
    return [[name for number, name in pairs if number == own] for own in sorted(set(numbers))]


def _period_edges(dataset: Dataset) -> tuple[int, ...]:
    """Quantiles of the times of training events; of a million of them at most, evenly chosen."""
    _, events = event_ranges(np.asarray(dataset.user_offsets)[:-1], np.asarray(dataset.train_end))
    if not len(events):
        return ()
    times = np.asarray(dataset.timestamps)[events[:: 1 + len(events) // _MOST_TIMES]]
    shares = np.arange(1, NUM_PERIODS) / NUM_PERIODS
    return tuple(np.quantile(times, shares, method="lower").tolist())
