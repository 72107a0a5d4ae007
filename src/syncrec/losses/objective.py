"""The whole training objective (M12), for any model of the interface."""

from dataclasses import dataclass
from functools import cached_property

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
from syncrec.parallel import PendingRows, PendingSum, processes, sharded_tables, sum_over_processes

__all__ = ["JointObjective", "LossReport", "make_learner"]


@dataclass(frozen=True)
class LossReport:
    """The loss to minimise and what it is made of; everything but `total` is detached.

    Where several processes share a batch, `total` is what this one adds, so that the gradient of the batch is the sum
    of theirs; all else is of the whole batch and the same in each.

    `domain_losses` holds the mean next-item loss of each domain [D], a tensor an answer; nats.
    """

    total: Tensor
    domain_losses: dict[AnswerName, Tensor]
    domain_counts: Tensor  # targets of each domain [D]
    transfer_gap: Tensor  # phi(d) [D]; of a model weighed by contributions: what the others contribute
    weights: Tensor  # D gamma_d [D]
    sums: PendingSum  # of the total, of mutual information and of the model's own losses, [2 + n]
    own_names: tuple[str, ...] = ()

    @property
    def value(self) -> Tensor:
        """Of the total, scalar."""
        return self.sums.result()[0]

    @property
    def mutual_information(self) -> Tensor:
        """L_SC-MIM before its weight, scalar, nats."""
        return self.sums.result()[1]

    @property
    def own_losses(self) -> dict[str, Tensor]:
        """What the model adds, by name, before its weight, nats."""
        return dict(zip(self.own_names, self.sums.result()[2:].unbind(), strict=True))


class _Anchors:
    """Who stands for each user and domain in mutual information, and how many targets and anchors every process has.

    The processes tell each other while they encode.
    """

    def __init__(self, chosen: Tensor, batch: TensorBatch) -> None:
        """`chosen` are numbers of targets, int64 [S], ascending, so sorted by domain."""
        self.chosen = chosen
        anchors = torch.bincount(batch.domains[chosen], minlength=len(batch.domain_counts))
        own = torch.stack([batch.domain_counts, anchors])
        self._table = PendingRows(own[None], [1] * processes().size)

    @cached_property
    def counts(self) -> tuple[Tensor, Tensor]:
        """Targets and anchors of every process in each domain, int64 [P, D] each."""
        targets, anchors = self._table.detached().unbind(1)
        return targets, anchors

    def start_gathering(self, single: Tensor) -> PendingRows:
        """y_d of everybody's anchors, from those of this process's targets."""
        return PendingRows(single[self.chosen].float(), self.counts[1].sum(1).tolist())


class JointObjective(nn.Module):
    """L = D sum_d gamma_d mean l_t + a sum_d mean l^d_t + b L_SC-MIM (M10)-(M12).

    Means are over targets, or over users of the means of their targets in the domain (`loss.mean_over`).
    A domain that reads itself alone has its single loss alone, with weight 1.
    A model with one answer gets the plain mean loss of that answer, summed over domains; weighed, if its entry in the
    registry says so, by what domains contribute to each other. To each the model's own losses are added.
    """

    def __init__(self, config: Config, catalogue: Catalogue, next_item: NextItemLoss) -> None:
        super().__init__()
        num_domains = catalogue.num_domains
        self.config = config.loss
        self.next_item = next_item
        self.correction = TransferCorrection(catalogue.is_alone, config.transfer)
        self.mutual_information = MutualInformation(num_domains, config.model.dim)
        is_weighed = find_model(config.model.name).weighs_contributions
        self.contributions = Contributions(num_domains, config.transfer) if is_weighed else None

    def forward(self, model: SequentialModel, batch: TensorBatch, generator: torch.Generator) -> LossReport:
        """The losses of what `model` is asked of `batch`; in training mode gaps, or contributions, move a step (M9)."""
        batch = model.training_questions(batch, generator)
        names = model.answer_names
        anchors = self._anchors(model, batch, generator)
        encoded, own_losses = self._encode(model, batch, generator)
        compares = len(names) > 1 and self.config.mutual_information_weight > 0
        singles = anchors.start_gathering(encoded["single"]) if compares else None
        queries = torch.stack([model.query_vectors(encoded[name]) for name in names], dim=1)
        counts = anchors.counts[0].sum(0)
        parts, target_weights = self._parts(batch, counts)
        targets = Targets(batch.targets, batch.domains, batch.domain_counts, batch.rows, target_weights)
        losses = self.next_item(queries, model.item_vectors, targets, generator)
        shares = domain_means(losses, batch.domains, parts)  # what this process's targets add to each mean [D, A]
        means = dict(zip(names, sum_over_processes(shares).unbind(1), strict=True))
        share = dict(zip(names, shares.unbind(1), strict=True))
        information = shares.new_zeros(())
        if len(names) > 1:
            gap = means["single"] - means["cross"]  # (M8)
            if self.training and self.correction.config.gap == "training":
                self.correction.update(gap, counts > 0)
            weights = self.correction.weights()
            total = (weights * share["cross"]).sum() + (self._single_weights() * share["single"]).sum()
            if singles is not None:
                cross = encoded["cross"][anchors.chosen]
                information = self.mutual_information(cross, singles, anchors.counts[1])
                total = total + self.config.mutual_information_weight * information
        else:
            gap, weights = self._weigh_one_answer(model, batch, generator)
            total = (weights * share[names[0]]).sum()
        part = len(batch) / counts.sum()
        own_losses = {name: part * loss for name, loss in own_losses.items()}  # a mean over users: weighed by targets
        for loss in own_losses.values():
            total = total + self.config.auxiliary_weight * loss
        sums = PendingSum(torch.stack([total, information, *own_losses.values()]))
        return LossReport(total, means, counts, gap, weights, sums, tuple(own_losses))

    def _parts(self, batch: TensorBatch, counts: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the mean loss of each domain is a mean of: how many, int64 [D], and each target's weight [N] or None.

        `counts` are the targets of the whole batch, int64 [D]. No user is in two processes.
        """
        if self.config.mean_over == "targets":
            return counts, None
        span = batch.user_limit
        pairs = batch.domains * span + batch.users
        targets_of = torch.bincount(pairs, minlength=len(counts) * span)
        num_users = sum_over_processes((targets_of.view(len(counts), span) > 0).sum(1))
        return num_users, targets_of[pairs].float().reciprocal()

    def _single_weights(self) -> Tensor:
        """a of (M12) for each domain; 1 where a domain reads itself alone and has no other loss [D]."""
        is_alone = self.correction.is_alone
        return torch.where(is_alone, 1.0, self.config.single_weight)

    def _anchors(self, model: SequentialModel, batch: TensorBatch, generator: torch.Generator) -> _Anchors:
        """Who stands for each user and domain in `batch`; nobody where there is no mutual information."""
        if len(model.answer_names) == 1 or self.config.mutual_information_weight == 0:
            return _Anchors(batch.targets[:0], batch)
        chosen = choose_anchors(batch.users, batch.domains, batch.rows.uniform(generator))
        return _Anchors(chosen[~model.is_alone[batch.domains[chosen]]], batch)  # their two answers are one

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
    if len(model.answer_names) > 1:
        next_item.is_alike = catalogue.is_alone.tolist()
    if sharded_tables(model):
        next_item.first_item = model.item_range[0]
    return model, JointObjective(config, catalogue, next_item)
