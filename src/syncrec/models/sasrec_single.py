"""The single-domain twin of SASRec: a network for each domain, all trained in one run, none knows another domain.

Source: Kang and McAuley, ICDM 2018 (arXiv 1808.09781), with the departures of `sasrec`. What D separate models would
share nothing of is not shared here: items and start tokens are rows of their own, and every domain has its own
positions, normalisation and encoder. A domain embedding would be one constant vector; the positions hold it. What
separate runs would not have in common is outside the model: the events are those in the domain among the last T of all
domains, as for every model here; the gradients of a step are clipped together; the best epoch is that of the mean over
domains.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import AnswerName, SequentialModel
from syncrec.nn.dropout import PooledDropout
from syncrec.nn.embedding import PositionEmbedding, TimeEmbedding, initialise_linear
from syncrec.nn.packed import CausalTransformer
from syncrec.nn.segments import SegmentLayout

__all__ = ["SASRecSingle"]


class SASRecSingle(SequentialModel):
    """The single answer alone: the last position of the history in the target's domain.

    A domain of one item has no network and gets zeros: there is nothing to choose, and no gradient to learn from.
    """

    answer_names: tuple[AnswerName, ...] = ("single",)

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__(catalogue, config)
        # These are shared by domains; what is left is the item table, which is not.
        del self.embedding.domains, self.embedding.positions, self.embedding.norm, self.embedding.time
        sizes = [stop - start for start, stop in zip(catalogue.offsets, catalogue.offsets[1:], strict=False)]
        self.networks = nn.ModuleDict(
            {
                str(domain): _DomainNetwork(config, self.hidden_dim, self.dropout, self.make_time_embedding())
                for domain, size in enumerate(sizes)
                if size > 1
            }
        )

    def _end_positions(self, last: npt.NDArray[np.int64]) -> None:
        for domain, network in self.networks.items():
            for part in network.modules():
                if isinstance(part, PositionEmbedding):
                    part.last.fill_(max(0, int(last[int(domain)])))

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """The output of its domain's network at every target."""
        slots = torch.split(batch.single_slots, batch.domain_counts.tolist())
        items = self.embedding.items(batch.single.tokens)  # at once: processes that share the table out ask together
        found = torch.cat([self._of_domain(domain, batch, items, asked) for domain, asked in enumerate(slots)])
        if self.config.sharded_items:  # and go back together, with nothing where nothing was asked
            found = found + 0 * items.sum()
        return {"single": found}

    def _of_domain(self, domain: int, batch: TensorBatch, items: Tensor, asked: Tensor) -> Tensor:
        """Outputs [N, dim] at the slots `asked` [N] of one domain, from the segments of that domain alone."""
        if not len(asked) or str(domain) not in self.networks:
            return torch.zeros(len(asked), self.config.dim, device=asked.device)
        view, network = batch.single, self.networks[str(domain)]
        layout = SegmentLayout.of(view.segments, view.positions, view.domains == domain, shares_rows=True)
        items = layout.gather(items)
        from_end = layout.gather(view.positions_from_end)
        places = layout.gather(view.positions), from_end, layout.gather(view.times)
        if batch.only_asked:
            out: Tensor = network(items, places, layout.mask, layout.places[asked])
            return out.float()
        return layout.read(network(items, places, layout.mask), asked).float()


class _DomainNetwork(nn.Module):
    """What one domain has besides its items: positions, times, their norm, and a Transformer."""

    def __init__(
        self, config: ModelConfig, hidden_dim: int, dropout: PooledDropout, time: TimeEmbedding | None
    ) -> None:
        super().__init__()
        self.positions = PositionEmbedding(config.positions, config.max_length, config.dim)
        self.time = time
        self.norm = nn.LayerNorm(config.dim)
        self.encoder = CausalTransformer(config.dim, config.num_layers, config.num_heads, hidden_dim, dropout)
        self.dropout = dropout
        initialise_linear(self.encoder)

    def forward(
        self, items: Tensor, places: tuple[Tensor, Tensor, Tensor], mask: Tensor, asked: Tensor | None = None
    ) -> Tensor:
        """Encode item vectors [rows, length, dim]; the rest as in `CausalTransformer`.

        `places` are positions, those from the end, and times, int64 [rows, length] each.
        """
        positions, from_end, times = places
        total = items + self.positions(positions, from_end)
        if self.time is not None:
            total = total + self.time(times, positions)
        embedding = self.dropout(self.norm(total))
        out: Tensor = self.encoder(embedding, mask, asked)
        return out
