"""The item table: looked up several times a step, with one gradient for all of them."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ItemTable"]


class ItemTable(nn.Embedding):
    """`nn.Embedding` whose backward pass makes the gradient of the whole table once, however often it was looked up.

    The gradient of each look-up is a table of zeros but for a few rows; a step asks for the events of both views, for
    targets and for negatives, and would make as many tables and add them up. Here the rows of all look-ups are kept
    until the last one is through its backward pass. With `sparse` there is no such table, and nothing to spare.
    """

    _asked: "_Asked | None" = None

    def forward(self, rows: Tensor) -> Tensor:
        """The vectors of `rows` (int64 [...]), float [..., dim]."""
        weight = self.weight
        if self.sparse or not (torch.is_grad_enabled() and weight.requires_grad):
            return super().forward(rows)
        asked = self._asked
        if asked is None or asked.weight is not weight or asked.later.is_over:
            later = _Later()
            asked = self._asked = _Asked(weight, _Whole.apply(weight, later), later)  # type: ignore[no-untyped-call]
        out: Tensor = _LookUp.apply(asked.through, weight.detach(), rows, asked.later)  # type: ignore[no-untyped-call]
        return out

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to a step, so that a table can be copied at any time."""
        return {**self.__dict__, "_asked": None}


class _Later:
    """Rows and their gradients, until all look-ups of a step are through their backward pass."""

    def __init__(self) -> None:
        self.rows: list[Tensor] = []
        self.gradients: list[Tensor] = []
        self.is_through = False

    @property
    def is_over(self) -> bool:
        """Whether no more look-ups belong here: the backward pass has been, or broke off and left something behind."""
        return self.is_through or bool(self.rows)


class _Asked(NamedTuple):
    """The look-ups of a step: of which table, what their gradients go through (a scalar), and where they wait."""

    weight: Tensor
    through: Tensor
    later: _Later


class _Whole(torch.autograd.Function):
    """Nothing forward; backward, once every look-up has been, the gradient of the table."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, later: _Later) -> Tensor:
        ctx.later, ctx.num_rows = later, len(weight)
        return weight.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        later = ctx.later
        rows, gradients = torch.cat(later.rows), torch.cat(later.gradients)
        later.rows, later.gradients, later.is_through = [], [], True
        return torch.ops.aten.embedding_dense_backward(gradients, rows, ctx.num_rows, -1, False), None


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, through: Tensor, weight: Tensor, rows: Tensor, later: _Later) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.later, ctx.through = later, torch.zeros_like(through)
        return F.embedding(rows, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (rows,) = ctx.saved_tensors
        ctx.later.rows.append(rows.flatten())
        ctx.later.gradients.append(grads[0].reshape(-1, grads[0].shape[-1]))
        return ctx.through, None, None, None
