"""Dropout that costs little on the CPU.

`torch.nn.Dropout` draws a float for every number on the CPU, a fifth of a training step when measured. One random byte
decides as well, and eight come from one draw. A training step makes some sixty masks; with a pool they are windows,
each at a place of its own, into one long row of random factors that is drawn anew for every step.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["PooledDropout"]

_POOL_FACTOR = 4


class PooledDropout(nn.Module):
    """Zeroes numbers with probability p and scales the rest; on the CPU p is rounded to a multiple of 1/256.

    Draws from torch's default generator, which the trainer seeds at every step. Within a mask all numbers are
    independent; two masks of one step may share a stretch of the pool, at a random shift.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._pool: Tensor | None = None

    def refill(self, largest: int) -> None:
        """Draw the factors of a step whose largest mask has `largest` numbers.

        Without it, or for a larger mask, factors are drawn for each call.
        """
        self._pool = self._draw(_POOL_FACTOR * largest) if self.training and self._threshold else None

    def forward(self, x: Tensor) -> Tensor:
        """`x` with some numbers zeroed in training mode; `x` itself otherwise."""
        if not self.training or self._threshold == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        return x * self._factors(x)

    def add(self, base: Tensor, x: Tensor) -> Tensor:
        """`base` plus `x` after dropout, in one pass over them."""
        if not self.training or self._threshold == 0:
            return base + x
        if x.device.type != "cpu":
            return base + F.dropout(x, self.p)
        out: Tensor = _AddScaled.apply(base, x.to(base.dtype), self._factors(base))  # type: ignore[no-untyped-call]
        return out

    @property
    def _threshold(self) -> int:
        return min(round(self.p * 256), 255)

    def _factors(self, x: Tensor) -> Tensor:
        """0 or 1 / (1 - p) for every number of `x`, in its dtype."""
        pool, size = self._pool, x.numel()
        if pool is None or size > len(pool):
            return self._draw(size).view(x.shape).to(x.dtype)
        start = int(torch.randint(len(pool) - size + 1, ()))
        return pool[start : start + size].view(x.shape).to(x.dtype)

    def _draw(self, size: int) -> Tensor:
        words = torch.empty(-(-size // 8), dtype=torch.int64).random_(-(2**63), None)
        # 0 or 1 by clamping: a comparison of bytes takes three times as long.
        kept = words.view(torch.uint8)[:size].float().sub_(self._threshold - 1).clamp_(0, 1)
        return kept.mul_(256 / (256 - self._threshold))


class _AddScaled(torch.autograd.Function):
    """base + x * factors; torch's own `addcmul` walks through the factors once more in its backward pass."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, x: Tensor, factors: Tensor) -> Tensor:
        ctx.save_for_backward(factors)
        return torch.addcmul(base, x, factors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        return grads[0], grads[0] * ctx.saved_tensors[0], None
