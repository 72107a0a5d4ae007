"""SyNCRec: single- and cross-domain sequential recommendation in one network of experts.

Source: model.md (M1)-(M7); Park et al. 2024 (arXiv 2407.11245), Fig. 2. Beyond the paper, a domain that is a community
by itself has a network of its own and shares no weight with any other (model.md, communities).
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.models.batch import TensorBatch, TensorView
from syncrec.models.domain_network import DomainNetwork
from syncrec.models.frozen import FrozenMixture
from syncrec.models.interface import AnswerName, HistoryEncoder, SequentialModel
from syncrec.nn.embedding import initialise_linear
from syncrec.nn.mixture import ExpertMixture, TaskGates, TaskTowers, make_experts

__all__ = ["SyNCRec"]


class SyNCRec(SequentialModel):
    """K distinct experts, D + 1 distinct gates and towers, both views of every history in one pass.

    A domain that reads itself alone has its network in `lone`.
    """

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
        self.lone = nn.ModuleDict(
            {
                str(domain): DomainNetwork(config, self.hidden_dim, self.dropout, self.make_time_embedding())
                for domain in np.flatnonzero(catalogue.is_alone).tolist()
            }
        )

    def _end_positions(self, last: npt.NDArray[np.int64]) -> None:
        community_of = self.catalogue.community_of
        super()._end_positions(last[np.unique(community_of[~self.catalogue.is_alone])])
        for domain, network in self.lone.items():
            assert isinstance(network, DomainNetwork)
            network.positions.end_at(int(last[community_of[int(domain)]]))

    def frozen(self) -> HistoryEncoder | None:
        """Without torch where experts have one layer."""
        if self.config.num_layers > 1:
            return None
        lone = {int(domain): network for domain, network in self.lone.items() if isinstance(network, DomainNetwork)}
        return FrozenMixture(self, self.mixture, self.towers, lone)

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """y_cross and y_d of (M6) at every target."""
        cross = self._hidden(batch, batch.cross, batch.cross_slots, is_cross=True)
        single = self._hidden(batch, batch.single, batch.single_slots, is_cross=False)
        cross_count = batch.domain_counts.sum(0, keepdim=True)
        answers = self.towers(torch.cat([cross, single]), torch.cat([cross_count, batch.domain_counts]))
        return {"cross": answers[: len(batch)], "single": answers[len(batch) :]}

    def _hidden(self, batch: TensorBatch, view: TensorView, slots: Tensor, *, is_cross: bool) -> Tensor:
        """h of (M5) at every target, or what its network makes of it where a domain reads itself alone, [N, dim].

        In the cross view there are zeros in place of the latter: the answer is that of the single view.
        """
        if not self.lone:
            return self._mix(view, slots, batch.only_asked, is_cross=is_cross)
        items = self.embedding.items(view.tokens)  # at once: processes that share the table out ask together
        hidden = torch.zeros(len(batch), self.config.dim, device=items.device)
        shared = (~self.is_alone[batch.domains]).nonzero().squeeze(1)
        if len(shared):
            layout = view.laid_out_for(slots[shared])
            own, places = view.in_layout(layout), layout.places[slots[shared]]
            found = self._mix(own, places, batch.only_asked, is_cross=is_cross, items=layout.gather(items))
            hidden = hidden.index_copy(0, shared, found)
        for domain, network in () if is_cross else self.lone.items():
            numbers = (batch.domains == int(domain)).nonzero().squeeze(1)
            if len(numbers):
                found = network(items, view, slots[numbers], only_asked=batch.only_asked)
                hidden = hidden.index_copy(0, numbers, found)
        return hidden + 0 * items.sum() if self.config.sharded_items else hidden  # and go back together

    def _mix(
        self, view: TensorView, slots: Tensor, only_asked: bool, *, is_cross: bool, items: Tensor | None = None
    ) -> Tensor:
        """h of (M5) at the flat `slots` [N] of a view, [N, dim]; `items` as in `embed`."""
        last_task = self.catalogue.num_domains
        tasks = torch.zeros_like(view.domains) if is_cross else (view.domains + 1).clamp(max=last_task)
        embedding = self.embed(view, items)
        if only_asked:
            return self.mixture(embedding, view.mask, tasks, is_cross=is_cross, asked=slots)[0]
        return self.mixture(embedding, view.mask, tasks, is_cross=is_cross)[0].flatten(0, 1).index_select(0, slots)
