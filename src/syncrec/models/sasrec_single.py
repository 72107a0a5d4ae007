"""The single-domain twin of SASRec: a network for each domain, all trained in one run, none knows another domain.

Source: Kang and McAuley, ICDM 2018 (arXiv 1808.09781), with the departures of `sasrec`. What D separate models would
share nothing of is not shared here: items and start tokens are rows of their own, and every domain has its own
positions, normalisation and encoder. What separate runs would not have in common is outside the model: the events are
those in the domain among the last T of all domains, as for every model here; the gradients of a step are clipped
together; the best epoch is that of the mean over domains.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.models.batch import TensorBatch
from syncrec.models.domain_network import DomainNetwork
from syncrec.models.interface import AnswerName, SequentialModel

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
                str(domain): DomainNetwork(config, self.hidden_dim, self.dropout, self.make_time_embedding())
                for domain, size in enumerate(sizes)
                if size > 1
            }
        )

    def _end_positions(self, last: npt.NDArray[np.int64]) -> None:
        for domain, network in self.networks.items():
            assert isinstance(network, DomainNetwork)
            network.positions.end_at(int(last[int(domain)]))

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """The output of its domain's network at every target."""
        slots = torch.split(batch.single_slots, batch.domain_counts.tolist())
        items = self.embedding.items(batch.single.tokens)  # at once: processes that share the table out ask together
        found = torch.cat([self._of_domain(domain, batch, items, asked) for domain, asked in enumerate(slots)])
        if self.config.sharded_items:  # and go back together, with nothing where nothing was asked
            found = found + 0 * items.sum()
        return {"single": found}

    def _of_domain(self, domain: int, batch: TensorBatch, items: Tensor, asked: Tensor) -> Tensor:
        """Outputs [N, dim] at the slots `asked` [N] of one domain."""
        if not len(asked) or str(domain) not in self.networks:
            return torch.zeros(len(asked), self.config.dim, device=asked.device)
        out: Tensor = self.networks[str(domain)](items, batch.single, asked, only_asked=batch.only_asked)
        return out
