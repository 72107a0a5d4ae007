"""Answers to histories that are not in the dataset, for example with some events left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syncrec.data.dataset import Dataset, Queries
from syncrec.data.packing import history_batch
from syncrec.models.scoring import encode_packed, fuse
from syncrec.runs import TrainedModel

__all__ = ["History", "history_of", "history_vectors", "select_queries"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class History:
    """Events in time order: item indices and unix seconds, [n] each."""

    items: Ints
    times: Ints

    def where(self, is_kept: npt.NDArray[np.bool_]) -> "History":
        """The events for which `is_kept` [n] holds."""
        return History(self.items[is_kept], self.times[is_kept])


def history_of(dataset: Dataset, start: int, stop: int) -> History:
    """The events `start:stop` of the dataset."""
    return History(np.asarray(dataset.items[start:stop], np.int64), np.asarray(dataset.timestamps[start:stop]))


def select_queries(queries: Queries, numbers: Ints) -> Queries:
    """The queries with these numbers."""
    return Queries(
        queries.users[numbers],
        queries.target_events[numbers],
        queries.history_starts[numbers],
        queries.targets[numbers],
        queries.domains[numbers],
    )


def history_vectors(
    trained: TrainedModel, histories: Sequence[History], domains: Ints, batch_size: int = 512
) -> dict[str, Tensor]:
    """Query vectors [n, dim] of every answer to "what comes next in domain d after this history".

    Args:
        trained: who answers.
        histories: of each the last T events count.
        domains: domain number of each question [n].
        batch_size: questions at a time.

    Returns:
        one tensor an answer of the model and, if it has fusion weights, `fused` (M13).
    """
    model = trained.model
    packer = model.packer()
    device = model.embedding.items.weight.device
    vectors = {str(name): torch.empty(len(histories), model.config.dim, device=device) for name in model.answer_names}
    by_length = np.argsort([len(history.items) for history in histories], kind="stable")
    for first in range(0, len(histories), batch_size):
        chosen = by_length[first : first + batch_size]
        items, times = [histories[i].items for i in chosen], [histories[i].times for i in chosen]
        packed = history_batch(packer, items, domains[chosen], times)
        places = torch.as_tensor(chosen[packed.order], device=device)
        for name, encoded in encode_packed(model, packed).items():
            vectors[name][places] = encoded
    if trained.fusion_weights is not None:
        vectors["fused"] = fuse(vectors, trained.fusion_weights, domains)
    return vectors
