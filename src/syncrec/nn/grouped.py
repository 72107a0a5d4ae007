"""Linear maps that differ by group, for all groups at once: towers of tasks without a loop over tasks."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GroupedLinear", "grouped_layer_norm", "grouped_matmul", "grouped_outer"]


def grouped_matmul(x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """Row i of `x` times the matrix of its group; rows are sorted by group.

    Args:
        x: float [N, in], the first `counts[0]` rows belong to group 0, and so on.
        weight: float [G, in, out].
        counts: int64 [G], sums to N; zero is allowed.

    Returns:
        float [N, out].
    """
    x, weight = _in_working_precision(x, weight)
    if _has_kernel(x, x.shape[1], weight.shape[2]):
        return F.grouped_mm(x, weight, offs=counts.cumsum(0, dtype=torch.int32))
    return _padded_matmul(x, weight, counts)


def grouped_outer(x: Tensor, y: Tensor, counts: Tensor) -> Tensor:
    """For each group the sum over its rows of their outer products: x_g^T y_g, float [G, a, b].

    Args:
        x: float [N, a], sorted by group.
        y: float [N, b], likewise.
        counts: int64 [G], sums to N; a group without rows gives zeros.
    """
    x, y = _in_working_precision(x, y)
    if _has_kernel(x, x.shape[1], y.shape[1]):
        return F.grouped_mm(x.T, y, offs=counts.cumsum(0, dtype=torch.int32))
    padded_x, padded_y = (_pad(part, counts)[0] for part in (x, y))
    return torch.bmm(padded_x.transpose(1, 2), padded_y)


def _in_working_precision(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the dtype of autocast where that is on: `grouped_mm` is not among the functions it covers."""
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(dtype)


def _has_kernel(x: Tensor, *sizes: int) -> bool:
    """Whether `F.grouped_mm` is there (torch 2.10) and takes operands like `x` with rows of these sizes.

    Every row must begin at a multiple of 16 bytes; outside the CPU only bfloat16 is sure to work.
    """
    is_aligned = all((size * x.element_size()) % 16 == 0 for size in sizes)
    return hasattr(F, "grouped_mm") and is_aligned and (x.device.type == "cpu" or x.dtype == torch.bfloat16)


def _padded_matmul(x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """The same by one batched product over groups padded to the largest, for a torch without `grouped_mm`."""
    padded, place = _pad(x, counts)
    return torch.bmm(padded, weight)[place]


def _pad(x: Tensor, counts: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Rows [N, a] as [G, longest, a] with zeros behind each group, and where each row went."""
    group = torch.repeat_interleave(torch.arange(len(counts), device=x.device), counts)
    within = torch.arange(len(x), device=x.device) - (counts.cumsum(0) - counts)[group]
    padded = x.new_zeros(len(counts), int(counts.max()), x.shape[1])
    return padded.index_put((group, within), x), (group, within)


class GroupedLinear(nn.Module):
    """One affine map for each group, each with its own parameters."""

    def __init__(self, groups: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, in_dim, out_dim))
        self.bias = nn.Parameter(torch.zeros(groups, out_dim))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        """Map [N, in], sorted by group with `counts` [groups] rows each, to [N, out]."""
        out: Tensor = _AddRows.apply(grouped_matmul(x, self.weight, counts), self.bias, counts)  # type: ignore[no-untyped-call]
        return out


def grouped_layer_norm(x: Tensor, scale: Tensor, shift: Tensor, counts: Tensor) -> Tensor:
    """Layer normalisation of rows [N, dim], sorted by group, with `scale` and `shift` [G, dim] of each group's own."""
    parts, shape = torch.split(x, counts.tolist()), x.shape[-1:]
    return torch.cat([F.layer_norm(part, shape, *own) for part, *own in zip(parts, scale, shift, strict=True)])


class _AddRows(torch.autograd.Function):
    """Adds row g of `bias` to the rows of group g, in place: gathering a row for each takes two more passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, counts: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        ctx.sizes, ctx.dtype = counts.tolist(), bias.dtype
        for part, row in zip(torch.split(x, ctx.sizes), bias, strict=True):
            part.add_(row)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        rows = [part.sum(0, dtype=ctx.dtype) for part in torch.split(grads[0], ctx.sizes)]
        return grads[0], torch.stack(rows), None
