"""Next-item losses, all against items of the target's own domain.

Sources: full softmax, cross entropy over V^d (model.md section 3); sampled softmax with log-Q correction (Bengio and
Senecal 2008; the positive is not drawn, so its own logit is not corrected: Khrylchenko et al., RecSys 2025); BCE
(SASRec, Kang and McAuley 2018); gBCE (Petrov and Macdonald, RecSys 2023, eq. 8-12).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from syncrec.config import LossConfig
from syncrec.losses.full_softmax import full_softmax_loss
from syncrec.losses.sampled_softmax import find_hits, sampled_log_normaliser
from syncrec.losses.sharded_softmax import sharded_log_normaliser
from syncrec.parallel import BatchRows

__all__ = ["ItemVectors", "NegativeSampler", "NextItemLoss", "Targets"]

ItemVectors = Callable[[Tensor | None], Tensor]


@dataclass(frozen=True)
class Targets:
    """What is asked: per target the item and its domain (int64 [N], sorted by domain), targets of each domain [D].

    `rows` say where they stand in the batch of all processes, for draws; None: in this order, and this is the whole.
    `weights` are what each target's loss is multiplied by, float [N]; None: 1.
    """

    items: Tensor
    domains: Tensor
    counts: Tensor
    rows: BatchRows | None = None
    weights: Tensor | None = None


class NegativeSampler:
    """Draws in-domain negatives, with replacement, uniformly or by training popularity (count + 1)."""

    def __init__(
        self, offsets: tuple[int, ...], item_counts: np.ndarray[tuple[int], np.dtype[np.int64]], kind: str
    ) -> None:
        self.starts = torch.tensor(offsets[:-1])
        self.sizes = torch.tensor(np.diff(offsets))
        if kind == "uniform":
            self.log_probability = torch.repeat_interleave(-self.sizes.double().log(), self.sizes).float()
            self.cumulative = None
            return
        weights = torch.as_tensor(np.asarray(item_counts) + 1, dtype=torch.float64)
        domains = torch.repeat_interleave(torch.arange(len(self.sizes)), self.sizes)
        totals = torch.zeros(len(self.sizes), dtype=torch.float64).index_add(0, domains, weights)
        probability = weights / totals[domains]
        self.log_probability = probability.log().float()
        self.cumulative = probability.cumsum(0)  # rises by one a domain

    def draw(self, domains: Tensor, count: int, generator: torch.Generator, rows: BatchRows | None = None) -> Tensor:
        """Item indices int64 [len(domains), count], row i from the catalogue of `domains[i]`; on the CPU, as `rows`."""
        uniform = (rows or BatchRows.of(len(domains))).uniform(generator, count)
        starts, sizes = self.starts[domains, None], self.sizes[domains, None]
        if self.cumulative is None:
            return starts + (uniform * sizes).long().clamp_(max=sizes - 1)
        found = torch.searchsorted(self.cumulative, uniform + domains[:, None])
        return torch.minimum(torch.maximum(found, starts), starts + sizes - 1)


class NextItemLoss:
    """The loss `config.kind`, for any number of answers to the same targets at once."""

    def __init__(self, config: LossConfig, offsets: tuple[int, ...], sampler: NegativeSampler) -> None:
        self.config = config
        self.offsets = offsets
        self.sampler = sampler
        self.is_alike: Sequence[bool] = ()  # of each domain, whether its answers are one: see `full_softmax_loss`
        self.first_item: int | None = None  # of those that `items` gives for None, where they are a process's share

    def __call__(self, queries: Tensor, items: ItemVectors, targets: Targets, generator: torch.Generator) -> Tensor:
        """Loss of every target under every answer, times its weight, in nats.

        Args:
            queries: float [N, A, dim], A answers to each target.
            items: gives the vectors of item indices, or of all items without any.
            targets: what is asked.
            generator: draws negatives, on the CPU.

        Returns:
            float32 [N, A].
        """
        if self.config.kind == "full":
            if self.first_item is None:
                return self._full(queries, items, targets)
            losses = self._sharded(queries, items, targets, self.first_item)
        elif self.config.kind == "sampled":
            losses = self._sampled(queries, items, targets, generator)
        else:
            losses = self._binary(queries, items, targets, generator)
        return losses if targets.weights is None else losses * targets.weights[:, None]

    def _full(self, queries: Tensor, items: ItemVectors, targets: Targets) -> Tensor:
        return full_softmax_loss(
            queries,
            items(None),
            targets.items,
            targets.counts.tolist(),
            self.offsets,
            row_weights=targets.weights,
            is_alike=self.is_alike,
        )

    def _sharded(self, queries: Tensor, items: ItemVectors, targets: Targets, first_item: int) -> Tensor:
        normaliser = sharded_log_normaliser(queries, items(None), first_item, targets.domains, self.offsets)
        return normaliser - _scores(queries, items(targets.items))

    def _sampled(self, queries: Tensor, items: ItemVectors, targets: Targets, generator: torch.Generator) -> Tensor:
        """log(e^{s+} + sum over drawn x of e^{s_x} / (m q(x))) - s+, draws that hit the target left out."""
        answers, count = queries.shape[1], self.config.num_negatives
        drawn = self.sampler.draw(torch.arange(len(self.offsets) - 1), count, generator).sort(1).values
        log_weights = -(self.sampler.log_probability[drawn] + math.log(count)).to(queries.device)
        drawn = drawn.to(queries.device)
        rows, columns = find_hits(drawn, targets.items, targets.domains)
        rows = (rows[:, None] * answers + torch.arange(answers, device=rows.device)).flatten()
        negatives = sampled_log_normaliser(
            queries.flatten(0, 1),
            items(drawn),
            log_weights,
            targets.counts * answers,
            (rows, columns.repeat_interleave(answers)),
        )
        positive = _scores(queries, items(targets.items))
        return torch.logaddexp(negatives.view(-1, answers), positive) - positive

    def _binary(self, queries: Tensor, items: ItemVectors, targets: Targets, generator: torch.Generator) -> Tensor:
        """-beta log sigmoid(s+) - sum over m negatives of log(1 - sigmoid(s-)); beta = 1 is BCE."""
        rows = None if targets.rows is None else BatchRows(targets.rows.numbers.cpu(), targets.rows.total)
        drawn = self.sampler.draw(targets.domains.cpu(), self.config.num_negatives, generator, rows).to(queries.device)
        negatives = torch.einsum("nad,nmd->nam", queries, items(drawn)).float()
        keep = (drawn != targets.items[:, None])[:, None]
        positive = _scores(queries, items(targets.items))
        beta = self._calibration().to(queries.device)[targets.domains, None]
        return beta * F.softplus(-positive) + (F.softplus(negatives) * keep).sum(-1)

    def _calibration(self) -> Tensor:
        """beta of gBCE for each domain [D]: alpha (t (1 - 1/alpha) + 1/alpha), alpha = m / (|V^d| - 1)."""
        if self.config.kind == "bce":
            return torch.ones(len(self.sampler.sizes))
        alpha = (self.config.num_negatives / (self.sampler.sizes - 1).clamp(min=1)).clamp(max=1.0)
        calibration = self.config.gbce_calibration
        return alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)


def _scores(queries: Tensor, vectors: Tensor) -> Tensor:
    """Inner products float32 [N, A] of `queries` [N, A, dim] with one vector a target [N, dim]."""
    return (queries.float() * vectors[:, None].float()).sum(-1)
