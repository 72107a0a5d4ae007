"""Cross entropy over whole catalogues without ever holding all logits.

Rows of one domain meet the items of that domain only. Work is cut into blocks of rows and items that stay in the
processor's cache. The gradient is made in the forward pass, while a block's exponentials are at hand: three products
a block, nothing kept for the backward pass but sums, and memory that does not grow with rows x items. Where a domain
is too wide for one block, its normaliser comes first and the exponentials are computed again.

The backward pass scales these sums. That is exact where the gradients that come in are the same for all rows of a
domain and answer, as they are in a mean by domain; for others it computes the blocks again. Rows that weigh otherwise,
as in a mean over users, say so when the loss is asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["full_softmax_loss"]

_BLOCK_ELEMENTS = {"cpu": 2**19}
_BLOCK_ELEMENTS_ELSEWHERE = 2**26
_MIN_ROWS = 128
_STRETCH = 8  # one range somewhat above the limit is cheaper than two, which cost a fourth product
_SAFE_SCORE = 40.0  # e^40 times a billion items is far below the largest float32


def full_softmax_loss(
    queries: Tensor,
    items: Tensor,
    targets: Tensor,
    counts: Sequence[int],
    offsets: Sequence[int],
    *,
    row_weights: Tensor | None = None,
    is_alike: Sequence[bool] = (),
) -> Tensor:
    """-log softmax over the target's domain, of each target and answer, in nats, times the target's weight.

    Args:
        queries: float [N, A, dim], A answers to each target, sorted by domain.
        items: float [I, dim].
        targets: int64 [N], item indices inside the row's domain.
        counts: targets of each domain [D].
        offsets: first item of each domain, and I [D+1].
        row_weights: float [N], constants; None: all 1.
        is_alike: of each domain, whether all answers are the same vector, of which the last alone is learned from:
            it is computed once, and the gradient of the others is wrong [D]; empty: in none.

    Returns:
        float32 [N, A].
    """
    if not torch.is_grad_enabled():  # a view of a parameter asks for gradients all the same
        queries, items = queries.detach(), items.detach()
    last_alone = tuple(is_alike) or (False,) * len(counts)
    loss: Tensor = _FullSoftmax.apply(queries, items, targets, tuple(counts), tuple(offsets), row_weights, last_alone)  # type: ignore[no-untyped-call]
    return loss


@dataclass(frozen=True)
class _Block:
    """Some rows of one domain and one answer, and the ranges of items that they meet."""

    rows: slice
    answer: int
    ranges: list[tuple[int, int]]


def _blocks(counts: Sequence[int], offsets: Sequence[int], answers: Sequence[range], limit: int) -> Iterator[_Block]:
    """Blocks so that rows x range stays below `limit` elements, or `_STRETCH` times that in one range.

    `answers` are those that each domain is asked for.
    """
    first = 0
    for domain, count in enumerate(counts):
        start, stop = offsets[domain], offsets[domain + 1]
        height = max(_MIN_ROWS, limit // max(stop - start, 1))
        width = max(1, limit // min(height, max(count, 1)))
        if height * (stop - start) <= _STRETCH * limit:
            width = max(1, stop - start)
        ranges = [(i, min(i + width, stop)) for i in range(start, stop, width)]
        for row in range(first, first + count, height):
            for answer in answers[domain]:
                yield _Block(slice(row, min(row + height, first + count)), answer, ranges)
        first += count


def _matmul_dtype(tensor: Tensor) -> torch.dtype:
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


class _FullSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        items: Tensor,
        targets: Tensor,
        counts: tuple[int, ...],
        offsets: tuple[int, ...],
        row_weights: Tensor | None,
        last_alone: tuple[bool, ...],
    ) -> Tensor:
        num_answers = queries.shape[1]
        ctx.counts, ctx.offsets = counts, offsets
        ctx.walk = _Walk.of(queries, items, counts, offsets, last_alone)
        needs_gradient = any(ctx.needs_input_grad[:2])
        weights = None if row_weights is None else row_weights[:, None].expand(-1, num_answers)
        normaliser, gradients = ctx.walk.run(queries, items, weights, needs_gradient)
        for rows, is_last in zip(normaliser.split(counts), last_alone, strict=True):
            if is_last:
                rows[:, :-1] = rows[:, -1:]
        if gradients is not None:
            _take_targets(gradients, queries, items, targets, weights)
            ctx.gradients = gradients
        ctx.save_for_backward(queries, items, targets, row_weights)
        losses = normaliser - (queries.float() * items[targets].float()[:, None]).sum(2)
        return losses if weights is None else losses * weights

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        queries, items, targets, row_weights = ctx.saved_tensors
        (weights,) = grads  # [N, A]
        shared = _shared_weights(weights, ctx.counts)
        made, ctx.gradients = ctx.gradients, None  # used up: a second backward computes them again
        if shared is not None and made is not None:
            queries_grad, of_answers = made[0].mul_(weights[:, :, None]), made[1]
            for domain, (start, stop) in enumerate(zip(ctx.offsets, ctx.offsets[1:], strict=False)):
                of_answers[:, start:stop].mul_(shared[domain][:, None, None])
        else:
            weights = weights if row_weights is None else weights * row_weights[:, None]
            _, (queries_grad, of_answers) = ctx.walk.run(queries, items, weights, True)
            _take_targets((queries_grad, of_answers), queries, items, targets, weights)
        items_grad = of_answers.sum(0) if len(of_answers) > 1 else of_answers[0]
        return queries_grad, items_grad, None, None, None, None, None


def _take_targets(
    gradients: tuple[Tensor, Tensor], queries: Tensor, items: Tensor, targets: Tensor, weights: Tensor | None
) -> None:
    """Take the gradients of the targets' own scores, times `weights` [N, A], off those of the log-normalisers."""
    rows, vectors = queries, items[targets][:, None]
    if weights is not None:
        rows, vectors = weights[:, :, None] * rows, weights[:, :, None] * vectors
    gradients[0].sub_(vectors)
    for answer, of_answer in enumerate(gradients[1]):
        of_answer.index_add_(0, targets, rows[:, answer].to(items.dtype), alpha=-1)


def _shared_weights(weights: Tensor, counts: Sequence[int]) -> list[Tensor] | None:
    """The weight that all rows of a domain share, [A] a domain; None if the rows of some domain differ."""
    shared, first = [], 0
    for count in counts:
        rows = weights[first : first + count]
        shared.append(rows[0] if count else weights.new_zeros(weights.shape[1]))
        if count and not bool((rows == rows[0]).all()):
            return None
        first += count
    return shared


@dataclass(frozen=True)
class _Walk:
    """How the matrix targets x items is walked through."""

    blocks: list[_Block]
    dtype: torch.dtype
    is_bounded: bool

    @classmethod
    def of(
        cls, queries: Tensor, items: Tensor, counts: Sequence[int], offsets: Sequence[int], last_alone: Sequence[bool]
    ) -> "_Walk":
        limit = _BLOCK_ELEMENTS.get(queries.device.type, _BLOCK_ELEMENTS_ELSEWHERE)
        num_answers = queries.shape[1]
        answers = [range(num_answers - 1 if is_last else 0, num_answers) for is_last in last_alone]
        blocks = list(_blocks(counts, offsets, answers, limit))
        is_bounded = not blocks or bool(queries.norm(dim=2).amax() * items.norm(dim=1).amax() <= _SAFE_SCORE)
        return cls(blocks, _matmul_dtype(queries), is_bounded)

    def run(
        self, queries: Tensor, items: Tensor, weights: Tensor | None, needs_gradient: bool
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Log-normalisers [N, A] and the gradients of their weighted sum (weights [N, A]; None: all 1).

        Gradients: of the queries [N, A, dim], and of the items for each answer [A, I, dim].
        """
        low_items = items.to(self.dtype)
        normaliser = torch.empty(queries.shape[:2], dtype=torch.float32, device=queries.device)
        gradients = None
        if needs_gradient:
            gradients = torch.zeros_like(queries), items.new_zeros(queries.shape[1], *items.shape)
        for block in self.blocks:
            rows = queries[block.rows, block.answer].contiguous()
            low_rows = rows.to(self.dtype)
            kept: list[tuple[Tensor, Tensor]] = []
            sums = []
            for start, stop in block.ranges:
                part, top = _exponentials(low_rows, low_items[start:stop], self.is_bounded)
                sums.append(part.sum(1).log_().add_(top))
                if len(block.ranges) == 1:
                    kept.append((part, top))
            total = sums[0] if len(sums) == 1 else torch.stack(sums).logsumexp(0)
            normaliser[block.rows, block.answer] = total
            if gradients is None:
                continue
            weight = None if weights is None else weights[block.rows, block.answer]
            for place, (start, stop) in enumerate(block.ranges):
                part, top = kept[place] if kept else _exponentials(low_rows, low_items[start:stop], self.is_bounded)
                # The scale goes to the small factors: rows x dim numbers instead of rows x items.
                scale = (top - total).exp_() if weight is None else weight * (top - total).exp_()
                low, scaled = part.to(self.dtype), (scale[:, None] * rows).to(self.dtype)
                gradients[0][block.rows, block.answer].addcmul_(scale[:, None], (low @ low_items[start:stop]).float())
                _add_product(gradients[1][block.answer, start:stop], low.T, scaled)
        return normaliser, gradients


def _add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """`out` += left @ right, in the precision of `out`."""
    if left.dtype == out.dtype:
        out.addmm_(left, right)
    else:
        out += left @ right


def _exponentials(queries: Tensor, items: Tensor, is_bounded: bool) -> tuple[Tensor, Tensor]:
    """exp(score - c) of all pairs, float32 [rows, items], and c [rows].

    c is the row's largest score, or 0 if no score is so large that its exponential could overflow.
    """
    scores = (queries @ items.T).float()
    if is_bounded:
        return scores.exp_(), torch.zeros(len(queries), device=queries.device)
    top = scores.amax(1)
    return scores.sub_(top[:, None]).exp_(), top
