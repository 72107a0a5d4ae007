"""SyNCRec: single- and cross-domain sequential recommendation in one network of experts.

Source: model.md (M1)-(M7); Park et al. 2024 (arXiv 2407.11245), Fig. 2.
"""

import torch
from torch import Tensor

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.models.batch import TensorBatch, TensorView
from syncrec.models.frozen import FrozenMixture
from syncrec.models.interface import AnswerName, HistoryEncoder, SequentialModel
from syncrec.nn.embedding import initialise_linear
from syncrec.nn.mixture import ExpertMixture, TaskGates, TaskTowers, make_experts

__all__ = ["SyNCRec"]


class SyNCRec(SequentialModel):
    """K distinct experts, D + 1 distinct gates and towers, both views of every history in one pass."""

    answer_names: tuple[AnswerName, ...] = ("cross", "single")

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__(catalogue, config)
        num_tasks = catalogue.num_domains + 1
        experts = make_experts(
            config.num_experts, config.dim, config.num_layers, config.num_heads, self.hidden_dim, self.dropout
        )
        gates = TaskGates(num_tasks, config.dim, config.num_experts)
        self.mixture = ExpertMixture(experts, config.num_cross_experts, gates, config.mixing)
        self.towers = TaskTowers(num_tasks, config.dim, self.hidden_dim, self.dropout)
        initialise_linear(self.mixture)

    def frozen(self) -> HistoryEncoder | None:
        """Without torch where experts have one layer."""
        if self.config.num_layers > 1:
            return None
        return FrozenMixture(self, self.mixture, self.towers)

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """y_cross and y_d of (M6) at every target."""
        cross = self._mix(batch.cross, batch.cross_slots, batch.only_asked, is_cross=True)
        single = self._mix(batch.single, batch.single_slots, batch.only_asked, is_cross=False)
        cross_count = batch.domain_counts.sum(0, keepdim=True)
        answers = self.towers(torch.cat([cross, single]), torch.cat([cross_count, batch.domain_counts]))
        return {"cross": answers[: len(batch)], "single": answers[len(batch) :]}

    def _mix(self, view: TensorView, slots: Tensor, only_asked: bool, *, is_cross: bool) -> Tensor:
        """h of (M5) at the flat `slots` [N] of a view, [N, dim]."""
        last_task = self.catalogue.num_domains
        tasks = torch.zeros_like(view.domains) if is_cross else (view.domains + 1).clamp(max=last_task)
        embedding = self.embed(view)
        if only_asked:
            return self.mixture(embedding, view.mask, tasks, is_cross=is_cross, asked=slots)[0]
        return self.mixture(embedding, view.mask, tasks, is_cross=is_cross)[0].flatten(0, 1).index_select(0, slots)
