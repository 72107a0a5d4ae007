"""The whole training objective (M12), for any model of the interface."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from syncrec.config import Config
from syncrec.data.packing import Catalogue
from syncrec.losses.mutual_information import MutualInformation, choose_anchors
from syncrec.losses.next_item import NegativeSampler, NextItemLoss, Targets
from syncrec.losses.transfer import TransferCorrection, domain_means
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import AnswerName, SequentialModel
from syncrec.models.registry import build_model

__all__ = ["JointObjective", "LossReport", "make_learner"]


@dataclass(frozen=True)
class LossReport:
    """The loss to minimise and what it is made of; everything but `total` is detached.

    `domain_losses` holds the mean next-item loss of each domain [D], a tensor an answer, nats.
    """

    total: Tensor
    domain_losses: dict[AnswerName, Tensor]
    domain_counts: Tensor
    mutual_information: Tensor
    transfer_gap: Tensor  # phi(d) [D]
    weights: Tensor  # D gamma_d [D]


class JointObjective(nn.Module):
    """L = D sum_d gamma_d mean l_t + a sum_d mean l^d_t + b L_SC-MIM (M10)-(M12).

    A model with one answer gets the plain mean loss of that answer, summed over domains.
    """

    def __init__(self, config: Config, num_domains: int, next_item: NextItemLoss) -> None:
        super().__init__()
        self.config = config.loss
        self.next_item = next_item
        self.correction = TransferCorrection(num_domains, config.transfer)
        self.mutual_information = MutualInformation(num_domains, config.model.dim)

    def forward(self, model: SequentialModel, batch: TensorBatch, generator: torch.Generator) -> LossReport:
        """The losses of what `model` is asked of `batch`; in training mode the relative gaps move by one step (M9)."""
        batch = model.training_questions(batch, generator)
        encoded = model.encode(batch)
        names = model.answer_names
        queries = torch.stack([model.query_vectors(encoded[name]) for name in names], dim=1)
        targets = Targets(batch.targets, batch.domains, batch.domain_counts)
        losses = self.next_item(queries, model.item_vectors, targets, generator)
        means = dict(zip(names, domain_means(losses, batch.domains, batch.domain_counts).unbind(1), strict=True))
        return self._combine(means, encoded, batch, generator)

    def _combine(
        self,
        means: dict[AnswerName, Tensor],
        encoded: dict[AnswerName, Tensor],
        batch: TensorBatch,
        generator: torch.Generator,
    ) -> LossReport:
        zero = torch.zeros((), device=batch.domains.device)
        if len(means) == 1:
            (only,) = means.values()
            gap, weights, information, total = torch.zeros_like(only), torch.ones_like(only), zero, only.sum()
        else:
            gap = (means["single"] - means["cross"]).detach()  # (M8)
            if self.training:
                self.correction.update(gap, batch.domain_counts > 0)
            weights = self.correction.weights()
            information = self._information(encoded, batch, generator) if self._has_information() else zero
            total = (weights * means["cross"]).sum() + self.config.single_weight * means["single"].sum()
            total = total + self.config.mutual_information_weight * information
        detached = {name: mean.detach() for name, mean in means.items()}
        return LossReport(total, detached, batch.domain_counts, information.detach(), gap.detach(), weights)

    def _has_information(self) -> bool:
        return self.config.mutual_information_weight > 0

    def _information(self, encoded: dict[AnswerName, Tensor], batch: TensorBatch, generator: torch.Generator) -> Tensor:
        anchors = choose_anchors(batch.users, batch.domains, generator)
        out: Tensor = self.mutual_information(
            encoded["cross"][anchors], encoded["single"][anchors], batch.domains[anchors]
        )
        return out


def make_learner(
    config: Config, catalogue: Catalogue, item_counts: npt.NDArray[np.int64]
) -> tuple[SequentialModel, JointObjective]:
    """A fresh model and the objective it is trained with; weights come from torch's default generator.

    Args:
        config: all settings.
        catalogue: the sizes to build for.
        item_counts: training events of each item [I], for negatives by popularity.

    Raises:
        ConfigError: there is no such model.
    """
    model = build_model(catalogue, config.model)
    model.embedding.items.sparse = config.updates_rows(catalogue.num_items)
    sampler = NegativeSampler(catalogue.offsets, item_counts, config.loss.negatives)
    next_item = NextItemLoss(config.loss, catalogue.offsets, sampler)
    return model, JointObjective(config, catalogue.num_domains, next_item)
