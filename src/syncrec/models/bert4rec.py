"""BERT4Rec: one Transformer that reads the hybrid history both ways and fills in events that are masked.

Source: Sun et al., *BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer*,
CIKM 2019 (arXiv 1904.06690). A batch is asked some of its events, each at a [MASK] in its place, and a question is a
[MASK] behind the history. Petrov and Macdonald (RecSys 2022, arXiv 2207.07483) found that many published results come
from too short a training: a step asks fewer events than a causal model does, so it needs more epochs.

Departures, so that models differ in what reads the history and in little else:

- the embedding that all models share, with domain, position, time and layer normalisation (M2), and their encoder, with
  normalisation before each part and ReLU; no item biases; the loss is that of the configuration;
- the similarity to the history (`model.item_similarity`) is that to the events before the one asked for, unmasked;
- a [MASK] has the domain of the event asked for, since a question names it, and no time, since nobody knows it yet;
- positions count from the end, whatever `model.positions` says: a question has position 0 and the last event 1. So
  the [MASK] can lie in the slot of the start token (whose row in the item table it takes), and no slot is added;
- the last event of a batch's segment is asked for every time, and in some segments nothing but it. The paper adds such
  segments, to train what will be asked.
"""

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.models.batch import TensorBatch, TensorView
from syncrec.models.interface import AnswerName, SequentialModel
from syncrec.nn.embedding import initialise_linear
from syncrec.nn.packed import CausalTransformer

__all__ = ["LAST_ONLY_SHARE", "MASKED_SHARE", "BERT4Rec"]

# The paper takes .2 for long histories and .4 to .6 for short ones.
MASKED_SHARE = 0.3
"""Probability of each event but the last to be masked."""
LAST_ONLY_SHARE = 0.2
"""Probability of a segment to have its last event masked alone."""


class BERT4Rec(SequentialModel):
    """The cross answer alone: the output at a [MASK], which reads all slots of its segment, later ones included."""

    answer_names: tuple[AnswerName, ...] = ("cross",)
    is_causal = False

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__(catalogue, config)
        self.encoder = CausalTransformer(config.dim, config.num_layers, config.num_heads, self.hidden_dim, self.dropout)
        self.projection = nn.Linear(config.dim, config.dim)
        self.norm = nn.LayerNorm(config.dim)
        for part in (self.encoder, self.projection):
            initialise_linear(part)

    @property
    def position_count(self) -> Literal["start", "end", "both"]:
        """From the end, always."""
        return "end"

    @property
    def mask_token(self) -> int:
        """Code of [MASK]: that of the cross start token."""
        return self.catalogue.num_items

    def training_questions(self, batch: TensorBatch, generator: torch.Generator) -> TensorBatch:
        """The batch with some events masked, the last of each segment always, and these alone as targets.

        A segment holds the events but the last, each in the slot behind the one that answers it in a causal model; the
        last one is asked for in the slot of the start token.
        """
        view = batch.cross
        positions, segments = (values.flatten()[batch.cross_slots] for values in (view.positions, view.segments))
        is_last = positions + 1 == view.lengths.flatten()[batch.cross_slots]
        slots = torch.where(is_last, batch.cross_slots - positions, batch.cross_slots + 1)
        of_event, luck = batch.rows.uniform(generator, 2).unbind(1)
        of_segment = luck.new_zeros(view.segments.numel())  # each segment has the draw of its last event
        of_segment[segments[is_last]] = luck[is_last]
        is_drawn = (of_event < MASKED_SHARE) & (of_segment[segments] >= LAST_ONLY_SHARE)
        asked = (is_last | is_drawn).nonzero().squeeze(1)
        tokens = view.tokens.flatten().index_fill(0, slots[asked], self.mask_token).view_as(view.tokens)
        return batch.select(asked, slots[asked], replace(view, tokens=tokens))

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """The projected output at every [MASK] asked for."""
        view, slots = batch.cross, self._mask_slots(batch)
        domains = view.domains.flatten().index_copy(0, slots, batch.domains).view_as(view.domains)
        embedding = self._embed(view, domains)
        encoded = self.encoder.at(embedding, view.two_way_mask, slots, only_asked=batch.only_asked)
        return {"cross": self.norm(F.gelu(self.projection(encoded)).float())}

    def _with_similarity(self, batch: TensorBatch, answers: dict[AnswerName, Tensor]) -> dict[AnswerName, Tensor]:
        """The answer with what the items before the event asked for say by themselves (`model.item_similarity`)."""
        if self.similarity is None:
            return answers
        view, slots = batch.cross, self._mask_slots(batch)
        places = torch.where(view.positions == 0, view.lengths, view.positions)  # a question stands behind the history
        is_later = places[:, None, :, None] <= places[:, None, None, :]
        mask = view.two_way_mask.masked_fill(is_later, -torch.inf)
        part = self.similarity(*self._events(view), places, mask, slots, torch.zeros_like(batch.domains))
        return {"cross": answers["cross"] + part}

    def _mask_slots(self, batch: TensorBatch) -> Tensor:
        """Flat slots of what is asked, int64 [N]: the masked ones; where the last event is named, the start token's."""
        slots = batch.cross_slots
        is_masked = batch.cross.tokens.flatten()[slots] == self.mask_token
        return torch.where(is_masked, slots, slots - batch.cross.positions.flatten()[slots])

    def _embed(self, view: TensorView, domains: Tensor) -> Tensor:
        """(M2) with positions from the end; no time at a [MASK], and no gap after it; float [rows, length, dim]."""
        table = self.embedding
        total = (
            table.items(view.tokens) + table.domains(domains) + table.positions(view.positions, view.positions_from_end)
        )
        if table.time is not None:
            total = total + table.time(view.times, view.positions, view.tokens == self.mask_token)
        out: Tensor = self.dropout(table.norm(total))
        return out
