"""What a model must offer, so that the losses, the trainer and the evaluation need not know which one it is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.catalogue import NUM_PERIODS, Catalogue
from syncrec.data.dataset import Dataset
from syncrec.data.packing import BatchPacker, ViewName, longest_segments
from syncrec.models.batch import TensorBatch, TensorView
from syncrec.models.item_vectors import begin_from_co_occurrence
from syncrec.nn.dropout import PooledDropout
from syncrec.nn.embedding import HistoryEmbedding, TimeEmbedding
from syncrec.nn.similarity import ItemSimilarity
from syncrec.parallel import ShardedTable

__all__ = ["AnswerName", "HistoryEncoder", "SequentialModel", "TrainingOutput"]

AnswerName = Literal["cross", "single"]


class TrainingOutput(NamedTuple):
    """What a model makes of a training batch: the answers, as `encode` gives them, and losses of its own by name."""

    answers: dict[AnswerName, Tensor]
    own_losses: dict[str, Tensor]  # scalars in nats, with their gradient, not yet weighed


class HistoryEncoder(Protocol):
    """Answers questions of a trained model on the CPU."""

    def encode(
        self, histories: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]], domains: npt.NDArray[np.int64]
    ) -> dict[AnswerName, npt.NDArray[np.float32]]:
        """Query vectors of every answer, float32 [N, dim], for items and times of N >= 1 histories.

        Args:
            histories: item indices and unix seconds of each, oldest first; only the last T events count.
            domains: the domain asked of each [N].
        """


class SequentialModel(nn.Module, ABC):
    """A network that answers "which item of domain d comes next" by a vector for each question.

    Subclasses set `answer_names` and implement `_encode`; one that reads other views than those its answers are named
    after sets `views` too, one with losses beside the next-item loss `_encode_to_train`, and one that is made from
    training events `observe`. The score of an item is the inner product of `query_vectors` and `item_vectors` (M7).
    """

    answer_names: tuple[AnswerName, ...]
    is_alone: Tensor
    """Which domains read themselves alone, bool [D]."""
    is_known: Tensor
    """Which items have training events, bool [I]; only with `model.unknown_items = skip`."""
    is_causal: ClassVar[bool] = True
    """Whether a training batch is answered as it is, each target from the events before it alone; if not, only what
    `training_questions` makes of it is."""

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
            ShardedTable(catalogue.num_tokens, config.dim, std=0.02) if config.sharded_items else None,
            self.position_count,
        )
        if config.unknown_items == "skip":
            self.register_buffer("is_known", torch.ones(catalogue.num_items, dtype=torch.bool))
        self.register_buffer("is_alone", torch.as_tensor(catalogue.is_alone), persistent=False)
        self._has_lone_domain = bool(catalogue.is_alone.any())
        self.similarity = None
        if config.item_similarity:
            num_tasks = sum(1 if name == "cross" else catalogue.num_domains for name in self.answer_names)
            self.similarity = ItemSimilarity(num_tasks, config.dropout)

    def make_time_embedding(self) -> TimeEmbedding | None:
        """A fresh embedding of times; None if the configuration wants none."""
        if not self.config.time:
            return None
        return TimeEmbedding(self.config.dim, NUM_PERIODS, self.catalogue.period_edges)

    def embed(self, view: TensorView, items: Tensor | None = None) -> Tensor:
        """(M2) of a view's slots, float [rows, length, dim]; `items`, of the same shape, in place of the items' own."""
        from_end = None if self.position_count == "start" else view.positions_from_end
        embedded: Tensor = self.embedding(view.tokens, view.domains, view.positions, view.times, items, from_end)
        return embedded

    @property
    def position_count(self) -> Literal["start", "end", "both"]:
        """Where positions count from (`model.positions`)."""
        return self.config.positions

    @property
    def views(self) -> tuple[ViewName, ...]:
        """The views of a history that `_encode` reads, so that no other is packed; those of the answers if not set."""
        return self.answer_names

    def packer(self) -> BatchPacker:
        """What packs histories for it."""
        return BatchPacker(self.catalogue, self.config.max_length, self.views, self.known_items)

    @property
    def known_items(self) -> npt.NDArray[np.bool_] | None:
        """Which items a question reads in a history [I]; None: all of them (`model.unknown_items`)."""
        return self.is_known.cpu().numpy() if self.config.unknown_items == "skip" else None

    def training_questions(self, batch: TensorBatch, generator: torch.Generator) -> TensorBatch:  # noqa: ARG002
        """What is asked of a training batch: all its targets, each after the events before it.

        A model that is asked otherwise gives a batch with some of the targets, from whose view these are hidden.
        `generator`, on the CPU, makes what it draws.
        """
        return batch

    def encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """One output a target of the batch, float32 [N, dim], for every answer in `answer_names`."""
        self._refill_dropout(batch)
        return self._of_lone_domains(batch, self._with_similarity(batch, self._encode(batch)))

    def encode_to_train(self, batch: TensorBatch, generator: torch.Generator) -> TrainingOutput:
        """The same, with the model's own losses; `generator`, on the CPU, makes the draws of these."""
        self._refill_dropout(batch)
        answers, own_losses = self._encode_to_train(batch, generator)
        return TrainingOutput(self._of_lone_domains(batch, self._with_similarity(batch, answers)), own_losses)

    def _with_similarity(self, batch: TensorBatch, answers: dict[AnswerName, Tensor]) -> dict[AnswerName, Tensor]:
        """The answers, each with what the items of its own view say by themselves (`model.item_similarity`)."""
        if self.similarity is None:
            return answers
        found: dict[AnswerName, Tensor] = {}
        for name, answer in answers.items():
            if name == "cross":
                view, slots, tasks = batch.cross, batch.cross_slots, torch.zeros_like(batch.domains)
            else:
                view, slots, tasks = batch.single, batch.single_slots, batch.domains + ("cross" in answers)
            found[name] = answer + self.similarity(*self._events(view), view.positions, view.mask, slots, tasks)
        return found

    def _events(self, view: TensorView) -> tuple[Tensor, Tensor]:
        """Vectors that can be added to an answer, float [rows, length, dim], and which slots hold an event."""
        return self.answer_size * self.item_vectors(view.tokens), view.tokens < self.catalogue.num_items

    def _of_lone_domains(self, batch: TensorBatch, answers: dict[AnswerName, Tensor]) -> dict[AnswerName, Tensor]:
        """The answers, with the single one for the cross one, without gradient, of a domain that reads itself alone.

        Its two views are the same, so that a second network would learn the same once more and disturb the first.
        """
        if not self._has_lone_domain or len(answers) == 1:
            return answers
        is_alone = self.is_alone[batch.domains][:, None]
        return {**answers, "cross": torch.where(is_alone, answers["single"].detach(), answers["cross"])}

    def _refill_dropout(self, batch: TensorBatch) -> None:
        self.dropout.refill(batch.num_slots * max(self.config.dim, self.hidden_dim))

    @abstractmethod
    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """The same, from the model's own parts; dropout is `self.dropout`."""

    def _encode_to_train(self, batch: TensorBatch, generator: torch.Generator) -> TrainingOutput:  # noqa: ARG002
        """Likewise; by default a model has no losses of its own."""
        return TrainingOutput(self._encode(batch), {})

    def observe(self, dataset: Dataset, ends: npt.NDArray[np.int64]) -> None:
        """Take what the model begins from, beside random weights, out of the events it will be trained on.

        Called once before the first step. Here it is which items have such events, the last position that training
        asks for, and the first values of the item table (`model.item_start`), of each community by itself, or of each
        domain for a model of the single view. What a subclass takes besides must be buffers whose shapes follow from
        the catalogue and the configuration, so that it is saved and loaded with the weights.

        Args:
            dataset: whose events are read.
            ends: event index where each user's training events end, int64 [U].
        """
        together = self.catalogue.community_of if "cross" in self.views else np.arange(dataset.num_domains)
        if self.config.unknown_items == "skip":
            self.is_known.copy_(torch.from_numpy(dataset.counts_before(ends) > 0))
        self._end_positions(longest_segments(dataset, ends, together, self.config.max_length) - 1)
        if self.config.item_start == "co-occurrence":
            begin_from_co_occurrence(self.embedding.items.weight, dataset, ends, together)

    def _end_positions(self, last: npt.NDArray[np.int64]) -> None:
        """Tell embeddings the last position that training asks for, of each community, or of each domain [groups]."""
        self.embedding.positions.end_at(int(last.max(initial=0)))

    def frozen(self) -> HistoryEncoder | None:
        """What gives the same answers faster for a few questions at a time, while weights stay as they are; or None."""
        return None

    def query_vectors(self, encoded: Tensor) -> Tensor:
        """What is multiplied with `item_vectors`: the output itself, or its direction over the temperature."""
        if self.config.score == "dot":
            return encoded
        return F.normalize(encoded, dim=-1) / self.config.temperature

    @property
    def answer_size(self) -> float:
        """How long an item's vector is made to be added to an answer: like one after LayerNorm for cosine scores."""
        return 1.0 if self.config.score == "dot" else float(self.config.dim**0.5)

    @property
    def item_range(self) -> tuple[int, int]:
        """The items whose vectors this process holds: all, or first and one past the last of its share."""
        table, num_items = self.embedding.items, self.catalogue.num_items
        if not isinstance(table, ShardedTable):
            return 0, num_items
        return min(table.start, num_items), min(table.stop, num_items)

    def item_vectors(self, items: Tensor | None = None) -> Tensor:
        """Vectors of `items` (int64 [...]), float32 [..., dim], or of all items in the order of their indices [I, dim].

        Of a table that is shared out over processes: of all in `item_range`, instead of all.

        Unit length for cosine scores. With `items` the cost does not depend on the size of the catalogue.
        """
        table = self.embedding.items.weight
        start, stop = self.item_range
        rows = table[: stop - start] if items is None else self.embedding.items(items)
        return rows if self.config.score == "dot" else F.normalize(rows, dim=-1)
