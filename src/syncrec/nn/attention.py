"""Attention of packed rows: what torch offers, and a faster path for training on short rows on the CPU.

torch's attention on the CPU splits and joins queries, keys and values once more in the backward pass and computes the
probabilities again. Rows of packed histories are short, so keeping the probabilities costs little.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["attention", "packed_attention"]

_LONGEST_KEPT = 128  # beyond it, measured, torch's own attention is as fast and keeps no length x length matrix


def packed_attention(query_key_value: Tensor, mask: Tensor, num_heads: int) -> Tensor:
    """Scaled dot-product attention (Vaswani et al. 2017, eq. 1) of every slot.

    Args:
        query_key_value: float [rows, length, 3 dim], queries first; each third holds the heads side by side.
        mask: additive float [rows, 1, length, length].
        num_heads: heads.

    Returns:
        float [rows, length, dim], heads side by side.
    """
    rows, length, width = query_key_value.shape
    is_short = query_key_value.device.type == "cpu" and length <= _LONGEST_KEPT
    if is_short and torch.is_grad_enabled() and query_key_value.requires_grad:
        with torch.autocast("cpu", enabled=False):
            out: Tensor = _ShortRows.apply(query_key_value.float(), mask, num_heads)  # type: ignore[no-untyped-call]
        return out
    heads = query_key_value.view(rows, length, 3, num_heads, width // (3 * num_heads))
    query, key, value = heads.permute(2, 0, 3, 1, 4)
    return attention(query, key, value, mask).transpose(1, 2).reshape(rows, length, width // 3)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """torch's attention; on the CPU always in float32, where bfloat16 has a backward six times as slow.

    Args:
        query: float [rows, heads, asked, dim].
        key, value: float [rows, heads, length, dim].
        mask: additive float, broadcast to [rows, heads, asked, length].
    """
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask.to(query.dtype))
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(query.float(), key.float(), value.float(), attn_mask=mask.float())


class _ShortRows(torch.autograd.Function):
    """A head at a time, from and into strided slices, so that nothing is split, joined or computed twice."""

    @staticmethod
    def forward(ctx: Any, query_key_value: Tensor, mask: Tensor, num_heads: int) -> Tensor:
        rows, length, width = query_key_value.shape
        heads = query_key_value.view(rows, length, 3, num_heads, -1)
        dim = heads.shape[-1]
        out = query_key_value.new_empty(rows, length, num_heads, dim)
        kept = []
        for head in range(num_heads):
            query, key, value = heads[:, :, :, head].unbind(2)
            scores = torch.baddbmm(mask.squeeze(1), query, key.transpose(1, 2), alpha=dim**-0.5)
            kept.append(scores.softmax(-1))
            out[:, :, head] = torch.bmm(kept[-1], value)
        ctx.save_for_backward(query_key_value, *kept)
        return out.view(rows, length, width // 3)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query_key_value, *kept = ctx.saved_tensors
        rows, length, _ = query_key_value.shape
        heads = query_key_value.view(rows, length, 3, len(kept), -1)
        gradient = torch.empty_like(heads)
        out_gradient = grads[0].view(rows, length, len(kept), -1)
        for head, probabilities in enumerate(kept):
            query, key, value = heads[:, :, :, head].unbind(2)
            here = out_gradient[:, :, head]
            scores = torch.bmm(here, value.transpose(1, 2))
            scores = torch._softmax_backward_data(scores, probabilities, -1, torch.float32)
            scores.mul_(heads.shape[-1] ** -0.5)
            gradient[:, :, 0, head] = torch.bmm(scores, key)
            gradient[:, :, 1, head] = torch.bmm(scores.transpose(1, 2), query)
            gradient[:, :, 2, head] = torch.bmm(probabilities.transpose(1, 2), here)
        return gradient.view_as(query_key_value), None, None
