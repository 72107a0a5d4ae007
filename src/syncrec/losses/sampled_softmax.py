"""Cross entropy over drawn negatives, with a backward pass of its own.

Every step would be cheap arithmetic on a matrix of targets x negatives, so what counts is how often that matrix is
walked through: once for the product, the largest entry, the exponential and its sum, once more backward.
"""

from typing import Any

import torch
from torch import Tensor

from syncrec.nn.grouped import grouped_matmul, grouped_outer

__all__ = ["find_hits", "sampled_log_normaliser"]


def find_hits(drawn: Tensor, targets: Tensor, domains: Tensor) -> tuple[Tensor, Tensor]:
    """Where a draw is the target itself: (row, column) of each such place in the matrix targets x draws.

    Args:
        drawn: int64 [D, m], each row ascending.
        targets: int64 [N].
        domains: int64 [N], the row of `drawn` that a target meets.
    """
    size = drawn.shape[1]
    keys, span = drawn.flatten(), int(drawn.max()) + 1
    keys = keys + torch.arange(len(drawn), device=drawn.device).repeat_interleave(size) * span
    wanted = targets + domains * span
    first = torch.searchsorted(keys, wanted)
    counts = torch.searchsorted(keys, wanted, right=True) - first
    counts = torch.where(targets < span, counts, 0)
    rows = torch.repeat_interleave(torch.arange(len(targets), device=targets.device), counts)
    within = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    return rows, first[rows] + within - domains[rows] * size


def sampled_log_normaliser(
    queries: Tensor, negatives: Tensor, log_weights: Tensor, counts: Tensor, hits: tuple[Tensor, Tensor]
) -> Tensor:
    """log sum over draws x of w_x e^{<query, x>}, without the draws in `hits`; float32 [M].

    Args:
        queries: float [M, dim], sorted by domain.
        negatives: float [D, m, dim].
        log_weights: float [D, m]; log w of each draw. Gets no gradient.
        counts: int64 [D], queries of each domain.
        hits: (row, column) of the places that do not count.
    """
    out: Tensor = _SampledNormaliser.apply(queries, negatives, log_weights, counts, *hits)  # type: ignore[no-untyped-call]
    return out


class _SampledNormaliser(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, negatives: Tensor, log_weights: Tensor, counts: Tensor, rows: Tensor, columns: Tensor
    ) -> Tensor:
        shift = log_weights[:, 0].repeat_interleave(counts)
        logits = grouped_matmul(queries, negatives.transpose(1, 2), counts).float()
        if not bool((log_weights == log_weights[:, :1]).all()):
            logits += (log_weights - log_weights[:, :1]).repeat_interleave(counts, 0)
        logits[rows, columns] = -torch.inf
        largest = logits.amax(1, keepdim=True).clamp_(min=torch.finfo(torch.float32).min)
        exponentials = logits.sub_(largest).exp_()
        sums = exponentials.sum(1)
        ctx.save_for_backward(queries, negatives, exponentials, sums, counts)
        return sums.log() + largest.squeeze(1) + shift

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        queries, negatives, exponentials, sums, counts = ctx.saved_tensors
        tiny = torch.finfo(torch.float32).tiny
        probabilities = exponentials.mul_((grads[0] / sums.clamp(min=tiny))[:, None])
        queries_grad = grouped_matmul(probabilities, negatives, counts)
        negatives_grad = grouped_outer(probabilities, queries, counts)
        return queries_grad.to(queries.dtype), negatives_grad.to(negatives.dtype), None, None, None, None
