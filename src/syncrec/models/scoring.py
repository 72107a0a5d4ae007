"""From a trained model to scores: vectors of all questions first, then products with item vectors.

`VectorScorer` is what evaluation takes scores from; it has the shape of `evaluation.Scorer` and gives numpy arrays.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syncrec.data.dataset import Dataset, Queries
from syncrec.data.packing import PackedBatch, query_batches
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import SequentialModel

__all__ = [
    "AnswerVectors",
    "PopularityScorer",
    "VectorScorer",
    "all_item_vectors",
    "answer_vectors",
    "encode_packed",
    "fuse",
]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@torch.no_grad()
def encode_packed(model: SequentialModel, packed: PackedBatch) -> dict[str, Tensor]:
    """Query vectors of every answer, float32 [N, dim] on the model's device, in the order of the packed targets."""
    if was_training := model.training:  # walking through all modules costs as much as an eighth of a small batch
        model.eval()
    encoded = model.encode(TensorBatch.of(packed, model.embedding.items.weight.device, only_asked=True))
    if was_training:
        model.train()
    return {name: model.query_vectors(vectors).float() for name, vectors in encoded.items()}


@dataclass(frozen=True)
class AnswerVectors:
    """Vectors of all queries [Q, dim], one tensor an answer, and of all items [I, dim] or from `first_item` on."""

    queries: dict[str, Tensor]
    items: Tensor
    first_item: int = 0


def answer_vectors(model: SequentialModel, dataset: Dataset, queries: Queries, batch_size: int = 512) -> AnswerVectors:
    """Ask `model` every query, in batches of similar history length."""
    device = model.embedding.items.weight.device
    vectors: dict[str, Tensor] = {
        name: torch.empty(len(queries), model.config.dim, device=device) for name in model.answer_names
    }
    for packed, numbers in query_batches(dataset, model.packer(), queries, batch_size):
        places = torch.as_tensor(numbers, device=device)
        for name, encoded in encode_packed(model, packed).items():
            vectors[name][places] = encoded
    return AnswerVectors(vectors, all_item_vectors(model), model.item_range[0])


@torch.no_grad()
def all_item_vectors(model: SequentialModel) -> Tensor:
    """Vectors of all items (of `model.item_range`), float32 [I, dim], cut off from the model's gradient.

    Not being recorded is not enough: dot scores take a view of the table, and a view of that view asks for gradients.
    """
    return model.item_vectors().float().detach()


def fuse(queries: Mapping[str, Tensor], weights: Iterable[float], domains: Ints) -> Tensor:
    """(1 - w_d) cross + w_d single (M13), [Q, dim]: scores are linear in it, so one product answers.

    Args:
        queries: the answers `cross` and `single`, [Q, dim] each.
        weights: w_d of each domain, in 0..1 [D]; 0 is the paper's answer.
        domains: domain number of each query [Q].
    """
    cross = queries["cross"]
    of_domain = torch.as_tensor(list(weights), dtype=cross.dtype, device=cross.device)
    weight = of_domain[torch.as_tensor(domains, device=cross.device)][:, None]
    return (1 - weight) * cross + weight * queries["single"]


class VectorScorer:
    """Scores as inner products of query and item vectors.

    The scores of a call lie in a buffer that the next call writes over: fresh memory for each block costs as much
    as the product itself.
    """

    def __init__(self, queries: Tensor, items: Tensor, first_item: int = 0) -> None:
        """`items`: vectors of the items from `first_item` on, as many as will be asked for."""
        self._queries = queries
        self._items, self._first_item = items, first_item
        self._buffer = torch.empty(0, device=queries.device)

    def scores(self, queries: Ints, item_start: int, item_stop: int) -> Floats:
        """Float32 [q, item_stop - item_start] for the queries with these numbers; good until the next call."""
        chosen = self._queries[torch.as_tensor(queries, device=self._queries.device)]
        shape = (len(chosen), item_stop - item_start)
        if self._buffer.numel() < shape[0] * shape[1]:
            self._buffer = torch.empty(shape[0] * shape[1], device=self._queries.device)
        out = self._buffer[: shape[0] * shape[1]].view(shape)
        items = self._items[item_start - self._first_item : item_stop - self._first_item]
        product: Floats = torch.mm(chosen, items.T, out=out).cpu().numpy()
        return product


class PopularityScorer:
    """Every query's score of an item is the item's number of events: of training, or before the later `ends` [U]."""

    def __init__(self, dataset: Dataset, ends: Ints | None = None) -> None:
        counts = np.asarray(dataset.item_counts) if ends is None else dataset.counts_before(ends)
        self._counts = counts.astype(np.float32)

    def scores(self, queries: Ints, item_start: int, item_stop: int) -> Floats:
        """The same row for each query, float32 [q, item_stop - item_start]."""
        row = self._counts[item_start:item_stop]
        return np.broadcast_to(row, (len(queries), len(row)))
