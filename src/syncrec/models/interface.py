"""What a model must offer, so that the losses, the trainer and the evaluation need not know which one it is."""

from abc import ABC, abstractmethod
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.packing import NUM_PERIODS, Catalogue, ViewName
from syncrec.models.batch import TensorBatch
from syncrec.nn.dropout import PooledDropout
from syncrec.nn.embedding import HistoryEmbedding, TimeEmbedding

__all__ = ["AnswerName", "SequentialModel"]

AnswerName = Literal["cross", "single"]


class SequentialModel(nn.Module, ABC):
    """A network that answers "which item of domain d comes next" by a vector for each question.

    Subclasses set `answer_names` and implement `_encode`; one that reads other views than those its answers are named
    after sets `views` too. The score of an item is the inner product of `query_vectors` and `item_vectors` (M7).
    """

    answer_names: tuple[AnswerName, ...]

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__()
        self.catalogue = catalogue
        self.config = config
        self.hidden_dim = round(config.dim * config.feedforward_multiplier)
        self.dropout = PooledDropout(config.dropout)
        self.embedding = HistoryEmbedding(
            catalogue.num_tokens,
            catalogue.num_domains,
            config.max_length,
            config.dim,
            self.dropout,
            self.make_time_embedding(),
        )

    def make_time_embedding(self) -> TimeEmbedding | None:
        """A fresh embedding of times; None if the configuration wants none."""
        if not self.config.time:
            return None
        return TimeEmbedding(self.config.dim, NUM_PERIODS, self.catalogue.period_edges)

    @property
    def views(self) -> tuple[ViewName, ...]:
        """The views of a history that `_encode` reads, so that no other is packed; those of the answers if not set."""
        return self.answer_names

    def encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """One output a target of the batch, float32 [N, dim], for every answer in `answer_names`."""
        self.dropout.refill(batch.num_slots * max(self.config.dim, self.hidden_dim))
        return self._encode(batch)

    @abstractmethod
    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """The same, from the model's own parts; dropout is `self.dropout`."""

    def freeze(self) -> None:
        """Weights will not change any more: a model that can answer faster then may prepare for it."""

    def query_vectors(self, encoded: Tensor) -> Tensor:
        """What is multiplied with `item_vectors`: the output itself, or its direction over the temperature."""
        if self.config.score == "dot":
            return encoded
        return F.normalize(encoded, dim=-1) / self.config.temperature

    def item_vectors(self, items: Tensor | None = None) -> Tensor:
        """Vectors of `items` (int64 [...]), float32 [..., dim], or of all items in the order of their indices [I, dim].

        Unit length for cosine scores. With `items` the cost does not depend on the size of the catalogue.
        """
        table = self.embedding.items.weight
        rows = table[: self.catalogue.num_items] if items is None else self.embedding.items(items)
        return rows if self.config.score == "dot" else F.normalize(rows, dim=-1)
