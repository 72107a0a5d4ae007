"""PLE: one task a domain, experts shared by all tasks beside experts that belong to one.

Source: Tang et al., *Progressive Layered Extraction (PLE): A Novel Multi-Task Learning Model for Personalized
Recommendations*, RecSys 2020. Task d answers y_d = tower_d(w_d S_d): S_d holds the outputs of the shared experts and of
its own, w_d is the softmax of a linear map of the input. This is one extraction layer, which the paper calls CGC.

Departures: experts, gate inputs and towers as in `mmoe.py`; one extraction layer, as each expert is a Transformer with
`model.num_layers` blocks already. Of K = `model.num_experts`, j = `model.num_cross_experts` are shared and the other
K - j are dealt out evenly among the domains, rounded down but at least one each, so that the model is about as large as
MMoE with K experts (with many domains larger). A domain with a single item has no experts of its own, for there they
would have nothing to learn. `model.mixing` has no effect.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import AnswerName, SequentialModel
from syncrec.nn.embedding import initialise_linear
from syncrec.nn.gating import encode_at, gated_sum
from syncrec.nn.mixture import TaskGates, TaskTowers, make_experts

__all__ = ["PLE"]


class PLE(SequentialModel):
    """All experts read the hybrid history; those of a domain learn from its targets alone."""

    answer_names: tuple[AnswerName, ...] = ("cross",)
    is_readable: Tensor  # 1 where a domain has the expert, float [D, j + own]

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__(catalogue, config)
        size = (config.dim, config.num_layers, config.num_heads, self.hidden_dim, self.dropout)
        num_domains, num_shared = catalogue.num_domains, config.num_cross_experts
        self.num_own = max(1, (config.num_experts - num_shared) // num_domains)
        has_own = [stop - start > 1 for start, stop in pairwise(catalogue.offsets)]
        self.shared_experts = make_experts(num_shared, *size)
        self.own_experts = nn.ModuleList(make_experts(self.num_own if own else 0, *size) for own in has_own)
        self.gates = TaskGates(num_domains, config.dim, num_shared + self.num_own)
        self.towers = TaskTowers(num_domains, config.dim, self.hidden_dim, self.dropout)
        is_readable = torch.ones(num_domains, num_shared + self.num_own)
        is_readable[~torch.tensor(has_own), num_shared:] = 0
        self.register_buffer("is_readable", is_readable, persistent=False)
        initialise_linear(self)

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """The tower's output at every target."""
        view, slots = batch.cross, batch.cross_slots
        embedding = self.embed(view)
        shared = encode_at(self.shared_experts, embedding, view.mask, slots, only_asked=batch.only_asked)
        outputs = torch.cat([shared, self._own_outputs(embedding, batch)], 1)
        weights = self.gate_weights(embedding.flatten(0, 1).index_select(0, slots), batch.domains)
        return {"cross": self.towers(gated_sum(weights, outputs), batch.domain_counts)}

    def gate_weights(self, embedding: Tensor, domains: Tensor) -> Tensor:
        """w_d over the shared experts and the own ones behind them; sums to 1, float [N, j + own].

        Args:
            embedding: float [N, dim], of the slot asked.
            domains: int64 [N], of the target.
        """
        weights = self.gates(embedding, domains) * self.is_readable[domains]
        return weights / weights.sum(-1, keepdim=True)

    def _own_outputs(self, embedding: Tensor, batch: TensorBatch) -> Tensor:
        """What the experts of each target's domain make of its slot, [N, own, dim]; zeros where it has none."""
        parts = []
        slots_of = torch.split(batch.cross_slots, batch.domain_counts.tolist())
        for experts, slots in zip(self.own_experts, slots_of, strict=True):
            assert isinstance(experts, nn.ModuleList)
            if len(experts) and len(slots):
                parts.append(encode_at(experts, embedding, batch.cross.mask, slots, only_asked=batch.only_asked))
            else:
                parts.append(embedding.new_zeros(len(slots), self.num_own, embedding.shape[-1]))
        return torch.cat(parts)
