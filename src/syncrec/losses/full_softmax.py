"""Cross entropy over whole catalogues without ever holding all logits.

Rows of one domain meet the items of that domain only. Work is cut into blocks of rows and items. Where all exponentials
fit into a fixed budget they are kept for the backward pass; beyond it only the log-normaliser of each row is kept and
backward computes a block's probabilities again, so memory does not grow with the catalogue.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["full_softmax_loss"]

_BLOCK_ELEMENTS = 2 * 2**20
_KEPT_ELEMENTS = 64 * 2**20
_MIN_ROWS = 256
_SAFE_SCORE = 40.0  # e^40 times a billion items is far below the largest float32

_Block = tuple[int, int, list[tuple[int, int]]]


def full_softmax_loss(
    queries: Tensor, items: Tensor, targets: Tensor, row_counts: Sequence[int], offsets: Sequence[int]
) -> Tensor:
    """-log softmax over the target's domain, of each row, in nats.

    Args:
        queries: float [M, dim], sorted by domain.
        items: float [I, dim].
        targets: int64 [M], item indices inside the row's domain.
        row_counts: rows of each domain [D].
        offsets: first item of each domain, and I [D+1].

    Returns:
        float32 [M].
    """
    loss: Tensor = _FullSoftmax.apply(queries, items, targets, tuple(_blocks(row_counts, offsets)))  # type: ignore[no-untyped-call]
    return loss


def _blocks(row_counts: Sequence[int], offsets: Sequence[int]) -> Iterator[_Block]:
    """(first row, end row, item ranges) so that rows x range stays below the limit."""
    first = 0
    for domain, count in enumerate(row_counts):
        start, stop = offsets[domain], offsets[domain + 1]
        rows = max(_MIN_ROWS, _BLOCK_ELEMENTS // max(stop - start, 1))
        width = max(1, _BLOCK_ELEMENTS // min(rows, max(count, 1)))
        ranges = [(i, min(i + width, stop)) for i in range(start, stop, width)]
        for row in range(first, first + count, rows):
            yield row, min(row + rows, first + count), ranges
        first += count


def _matmul_dtype(tensor: Tensor) -> torch.dtype:
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, items: Tensor, targets: Tensor, blocks: tuple[_Block, ...]) -> Tensor:
        ctx.blocks, ctx.dtype = blocks, _matmul_dtype(queries)
        ctx.is_bounded = bool(queries.norm(dim=1).amax() * items.norm(dim=1).amax() <= _SAFE_SCORE) if blocks else True
        low_queries, low_items = queries.to(ctx.dtype), items.to(ctx.dtype)
        normaliser = torch.empty(len(queries), dtype=torch.float32, device=queries.device)
        fits = sum((end - first) * _width(ranges) for first, end, ranges in blocks) <= _KEPT_ELEMENTS
        ctx.kept = [] if fits else None
        for first, end, ranges in blocks:
            parts = [_exponentials(low_queries[first:end], low_items[i:j], ctx.is_bounded) for i, j in ranges]
            normaliser[first:end] = torch.stack([part.sum(1).log() + top for part, top in parts]).logsumexp(0)
            if ctx.kept is not None:
                ctx.kept.append([(part.to(ctx.dtype), top) for part, top in parts])
        scores = (queries.float() * items[targets].float()).sum(1)
        ctx.save_for_backward(queries, items, targets, normaliser)
        return normaliser - scores

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (weights,) = grads
        queries, items, targets, normaliser = ctx.saved_tensors
        low_items = items.to(ctx.dtype)
        queries_grad = -weights[:, None] * items[targets]
        items_grad = torch.zeros_like(items).index_add_(0, targets, -weights[:, None] * queries)
        kept, ctx.kept = ctx.kept, None  # used up: a second backward computes them again
        for number, (first, end, ranges) in enumerate(ctx.blocks):
            block_queries = queries[first:end]
            for place, (i, j) in enumerate(ranges):
                part, top = (
                    kept[number][place]
                    if kept
                    else _exponentials(block_queries.to(ctx.dtype), low_items[i:j], ctx.is_bounded)
                )
                # The scale goes to the small factors: rows x dim numbers instead of rows x items.
                scale = (weights[first:end] * (top - normaliser[first:end]).exp())[:, None]
                low = part.to(ctx.dtype)
                queries_grad[first:end].addcmul_(scale, (low @ low_items[i:j]).float())
                items_grad[i:j] += low.T @ (scale * block_queries).to(ctx.dtype)
        return queries_grad, items_grad, None, None


def _exponentials(queries: Tensor, items: Tensor, is_bounded: bool) -> tuple[Tensor, Tensor]:
    """exp(score - c) of all pairs, float32 [rows, items], and c [rows].

    c is the row's largest score, or 0 if no score is so large that its exponential could overflow.
    """
    scores = (queries @ items.T).float()
    if is_bounded:
        return scores.exp_(), torch.zeros(len(queries), device=queries.device)
    top = scores.amax(1)
    return scores.sub_(top[:, None]).exp_(), top


def _width(ranges: list[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in ranges)
