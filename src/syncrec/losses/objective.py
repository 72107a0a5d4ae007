"""The whole training objective (M12), for any model of the interface."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from syncrec.config import Config
from syncrec.data.catalogue import Catalogue
from syncrec.losses.contributions import Contributions, draw_coalitions, marginal_contributions
from syncrec.losses.mutual_information import MutualInformation, choose_anchors
from syncrec.losses.next_item import NegativeSampler, NextItemLoss, Targets
from syncrec.losses.transfer import TransferCorrection
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import AnswerName, SequentialModel, TrainingOutput
from syncrec.models.registry import build_model, find_model
from syncrec.nn.domains import domain_means
from syncrec.parallel import sharded_tables, sum_over_processes

__all__ = ["JointObjective", "LossReport", "make_learner"]


@dataclass(frozen=True)
class LossReport:
    """The loss to minimise and what it is made of; everything but `total` is detached.

    Where several processes share a batch, `total` is what this one adds, so that the gradient of the batch is the sum
    of theirs; all else is of the whole batch and the same in each.

    `domain_losses` holds the mean next-item loss of each domain [D], a tensor an answer; `own_losses` those that the
    model adds, by name, before their weight; nats.
    """

    total: Tensor
    value: Tensor  # of the total, scalar
    domain_losses: dict[AnswerName, Tensor]
    domain_counts: Tensor  # targets of each domain [D]
    mutual_information: Tensor
    transfer_gap: Tensor  # phi(d) [D]; of a model weighed by contributions: what the others contribute
    weights: Tensor  # D gamma_d [D]
    own_losses: dict[str, Tensor] = field(default_factory=dict)


class JointObjective(nn.Module):
    """L = D sum_d gamma_d mean l_t + a sum_d mean l^d_t + b L_SC-MIM (M10)-(M12).

    A model with one answer gets the plain mean loss of that answer, summed over domains; weighed, if its entry in the
    registry says so, by what domains contribute to each other. To each the model's own losses are added.
    """

    def __init__(self, config: Config, num_domains: int, next_item: NextItemLoss) -> None:
        super().__init__()
        self.config = config.loss
        self.next_item = next_item
        self.correction = TransferCorrection(num_domains, config.transfer)
        self.mutual_information = MutualInformation(num_domains, config.model.dim)
        is_weighed = find_model(config.model.name).weighs_contributions
        self.contributions = Contributions(num_domains, config.transfer) if is_weighed else None

    def forward(self, model: SequentialModel, batch: TensorBatch, generator: torch.Generator) -> LossReport:
        """The losses of what `model` is asked of `batch`; in training mode gaps, or contributions, move a step (M9)."""
        batch = model.training_questions(batch, generator)
        encoded, own_losses = self._encode(model, batch, generator)
        names = model.answer_names
        queries = torch.stack([model.query_vectors(encoded[name]) for name in names], dim=1)
        targets = Targets(batch.targets, batch.domains, batch.domain_counts, batch.rows)
        losses = self.next_item(queries, model.item_vectors, targets, generator)
        counts = sum_over_processes(batch.domain_counts)
        shares = domain_means(losses, batch.domains, counts)  # of the means, from the targets of this process
        means = dict(zip(names, sum_over_processes(shares).unbind(1), strict=True))
        share = dict(zip(names, shares.unbind(1), strict=True))
        if len(names) > 1:
            gap = means["single"] - means["cross"]  # (M8)
            if self.training and self.correction.config.gap == "training":
                self.correction.update(gap, counts > 0)
            weights = self.correction.weights()
            information = self._information(model, encoded, batch, generator)
            total = (weights * share["cross"]).sum() + self.config.single_weight * share["single"].sum()
            total = total + self.config.mutual_information_weight * information
        else:
            gap, weights = self._weigh_one_answer(model, batch, generator)
            information, total = torch.zeros_like(gap[0]), (weights * share[names[0]]).sum()
        part = len(batch) / counts.sum()
        own_losses = {name: part * loss for name, loss in own_losses.items()}  # a mean over users: weighed by targets
        for loss in own_losses.values():
            total = total + self.config.auxiliary_weight * loss
        value, information, *own = sum_over_processes(torch.stack([total, information, *own_losses.values()])).unbind()
        return LossReport(
            total, value, means, counts, information, gap, weights, dict(zip(own_losses, own, strict=True))
        )

    def _encode(self, model: SequentialModel, batch: TensorBatch, generator: torch.Generator) -> TrainingOutput:
        if self.config.auxiliary_weight > 0:
            return model.encode_to_train(batch, generator)
        return TrainingOutput(model.encode(batch), {})

    def _weigh_one_answer(
        self, model: SequentialModel, batch: TensorBatch, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Gap and weight of each domain, [D] each: none and 1, or from what domains contribute to each other."""
        if self.contributions is None:
            ones = torch.ones(len(batch.domain_counts), device=batch.domains.device)
            return torch.zeros_like(ones), ones
        if self.training:
            drawn = draw_coalitions(batch, len(batch.domain_counts), generator)
            added = marginal_contributions(model, self.next_item, batch, drawn, generator)
            self.contributions.update(added, batch.domains[drawn.targets], drawn.sources)
        return self.contributions.gaps(), self.contributions.weights()

    def _information(
        self,
        model: SequentialModel,
        encoded: dict[AnswerName, Tensor],
        batch: TensorBatch,
        generator: torch.Generator,
    ) -> Tensor:
        if self.config.mutual_information_weight == 0:
            return torch.zeros((), device=batch.domains.device)
        anchors = choose_anchors(batch.users, batch.domains, batch.rows.uniform(generator))
        anchors = anchors[~model.is_alone[batch.domains[anchors]]]  # their two answers are one
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
    if sharded_tables(model):
        next_item.first_item = model.item_range[0]
    return model, JointObjective(config, catalogue.num_domains, next_item)
