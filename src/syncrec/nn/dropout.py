"""Dropout that costs little on the CPU.

`torch.nn.Dropout` draws a float for every number on the CPU, a fifth of a training step when measured. One random byte
decides as well, and eight come from one draw.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ByteDropout"]


class ByteDropout(nn.Module):
    """Zeroes numbers with probability p and scales the rest; on the CPU p is rounded to a multiple of 1/256.

    Draws from torch's default generator, which the trainer seeds at every step.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """`x` with some numbers zeroed in training mode; `x` itself otherwise."""
        threshold = round(self.p * 256)
        if not self.training or threshold == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        out: Tensor = _ByteDropout.apply(x, min(threshold, 255))  # type: ignore[no-untyped-call]
        return out


class _ByteDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: int) -> Tensor:
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        # 0 or 1 by clamping: a comparison of bytes takes three times as long.
        factor = words.view(torch.uint8)[: x.numel()].to(x.dtype).sub_(threshold - 1).clamp_(0, 1)
        factor = factor.mul_(256 / (256 - threshold)).view(x.shape)
        ctx.save_for_backward(factor)
        return x * factor

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return grads[0] * factor, None
