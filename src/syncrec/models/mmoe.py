"""MMoE: one task a domain, all experts shared by all tasks, a gate and a tower for each.

Source: Ma et al., *Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts*, KDD 2018.
Task d answers y_d = tower_d(sum_k g_d,k f_k(x)) with g_d the softmax of a linear map of the input.

Departures: the experts f_k are causal Transformers over the hybrid history, and the input of a gate is the embedding at
the slot asked, since a history is no vector; towers as in (M6); a target has one label, so a task learns from the
targets of its own domain alone. `model.num_cross_experts` and `model.mixing` have no effect.
"""

from torch import Tensor

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import AnswerName, SequentialModel
from syncrec.nn.embedding import initialise_linear
from syncrec.nn.gating import encode_at, gated_sum
from syncrec.nn.mixture import TaskGates, TaskTowers, make_experts

__all__ = ["MMoE"]


class MMoE(SequentialModel):
    """K experts over the hybrid history, D gates, D towers; a target meets gate and tower of its domain."""

    answer_names: tuple[AnswerName, ...] = ("cross",)

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__(catalogue, config)
        self.experts = make_experts(
            config.num_experts, config.dim, config.num_layers, config.num_heads, self.hidden_dim, self.dropout
        )
        self.gates = TaskGates(catalogue.num_domains, config.dim, config.num_experts)
        self.towers = TaskTowers(catalogue.num_domains, config.dim, self.hidden_dim, self.dropout)
        initialise_linear(self)

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """The tower's output at every target."""
        view, slots = batch.cross, batch.cross_slots
        embedding = self.embed(view)
        outputs = encode_at(self.experts, embedding, view.mask, slots, only_asked=batch.only_asked)
        weights = self.gates(embedding.flatten(0, 1).index_select(0, slots), batch.domains)
        return {"cross": self.towers(gated_sum(weights, outputs), batch.domain_counts)}
