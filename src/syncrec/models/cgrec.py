"""CGRec: one Transformer over the hybrid history; domains that suffer from others pull less; two levels are contrasted.

Source: Park et al., *Cracking the Code of Negative Transfer: A Cooperative Game Theoretic Approach for Cross-Domain
Sequential Recommendation*, CIKM 2023 (arXiv 2311.13188). We had its abstract and public summaries, but not the full
text, and did not use its code.

From there:

- one Transformer over the hybrid history answers for every domain;
- negative transfer from one domain to another is the marginal contribution of the first to the model's performance in
  the second, in the sense of cooperative games, and prediction losses with much of it get a low weight:
  `syncrec.losses.contributions`, which says how it is estimated;
- hierarchical contrastive learning: the sequence of items is contrasted with that of coarse categories.

Ours, where the sources are silent or the package differs:

- logs have no categories here, so the coarse level is the domain: the sequence of the history's domains, with
  positions, through a Transformer of its own. InfoNCE at one target for each user and domain, between a linear map of
  the answer and the coarse representation, with cosines over a temperature of 0.2; negatives are the coarse
  representations of other users' targets in the same domain. It counts `loss.auxiliary_weight` times and is not part
  of the answer;
- encoder, embedding and loss are those of all models here.

`model.num_experts`, `model.num_cross_experts` and `model.mixing` have no effect.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import AnswerName, SequentialModel, TrainingOutput
from syncrec.nn.domains import info_nce, one_of_each
from syncrec.nn.embedding import initialise_linear
from syncrec.nn.packed import CausalTransformer

__all__ = ["CGRec"]

_TEMPERATURE = 0.2


class CGRec(SequentialModel):
    """The cross answer alone: the last position of the hybrid history."""

    answer_names: tuple[AnswerName, ...] = ("cross",)

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__(catalogue, config)
        size = (config.dim, config.num_layers, config.num_heads, self.hidden_dim, self.dropout)
        self.encoder, self.coarse_encoder = CausalTransformer(*size), CausalTransformer(*size)
        self.coarse_domains = nn.Embedding(catalogue.num_domains + 1, config.dim)
        self.coarse_positions = nn.Embedding(config.max_length + 1, config.dim)
        self.coarse_norm = nn.LayerNorm(config.dim)
        self.head = nn.Linear(config.dim, config.dim, bias=False)
        for table in (self.coarse_domains, self.coarse_positions):
            nn.init.normal_(table.weight, std=0.02)
        initialise_linear(self)

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """The encoder's output at every target."""
        view = batch.cross
        found = self.encoder.at(self.embed(view), view.mask, batch.cross_slots, only_asked=batch.only_asked)
        return {"cross": found.float()}

    def _encode_to_train(self, batch: TensorBatch, generator: torch.Generator) -> TrainingOutput:
        """The same, and the contrast with the coarse level."""
        answers = self._encode(batch)
        anchors = one_of_each(batch.domains * batch.user_limit + batch.users, batch.rows.uniform(generator))
        fine, coarse = self.head(answers["cross"][anchors]), self._represent_coarse(batch, batch.cross_slots[anchors])
        scores = F.normalize(fine.float(), dim=-1) @ F.normalize(coarse.float(), dim=-1).T / _TEMPERATURE
        domains = batch.domains[anchors]
        counts = torch.bincount(domains, minlength=self.catalogue.num_domains)
        return TrainingOutput(answers, {"contrast": info_nce(scores, domains, counts)})

    def _represent_coarse(self, batch: TensorBatch, slots: Tensor) -> Tensor:
        """What the sequence of domains says at the flat `slots` [S] of the cross view, [S, dim]."""
        view = batch.cross
        coarse = self.coarse_domains(view.domains) + self.coarse_positions(view.positions)
        out: Tensor = self.coarse_encoder(self.dropout(self.coarse_norm(coarse)), view.mask, slots)
        return out
