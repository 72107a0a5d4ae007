"""Linear maps that differ by group, for all groups at once: towers of tasks without a loop over tasks."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GroupedLinear", "grouped_matmul"]


def grouped_matmul(x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """Row i of `x` times the matrix of its group; rows are sorted by group.

    Args:
        x: float [N, in], the first `counts[0]` rows belong to group 0, and so on.
        weight: float [G, in, out].
        counts: int64 [G], sums to N; zero is allowed.

    Returns:
        float [N, out].
    """
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    if hasattr(F, "grouped_mm") and _is_aligned(x, weight):
        return F.grouped_mm(x, weight, offs=counts.cumsum(0, dtype=torch.int32))
    return _padded_matmul(x, weight, counts)


def _is_aligned(x: Tensor, weight: Tensor) -> bool:
    """`F.grouped_mm` wants every row of both operands to begin at a multiple of 16 bytes."""
    return all((size * x.element_size()) % 16 == 0 for size in (x.shape[1], weight.shape[2]))


def _padded_matmul(x: Tensor, weight: Tensor, counts: Tensor) -> Tensor:
    """The same by one batched product over groups padded to the largest, for a torch without `grouped_mm`."""
    groups, longest = len(counts), int(counts.max())
    group = torch.repeat_interleave(torch.arange(groups, device=x.device), counts)
    within = torch.arange(len(x), device=x.device) - (counts.cumsum(0) - counts)[group]
    padded = x.new_zeros(groups, longest, x.shape[1]).index_put((group, within), x)
    return torch.bmm(padded, weight)[group, within]


class GroupedLinear(nn.Module):
    """One affine map for each group, each with its own parameters."""

    def __init__(self, groups: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, in_dim, out_dim))
        self.bias = nn.Parameter(torch.zeros(groups, out_dim))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, x: Tensor, counts: Tensor, groups: Tensor) -> Tensor:
        """Map [N, in] to [N, out]; `counts` rows a group and `groups`, the group of each row, agree."""
        out = grouped_matmul(x, self.weight, counts)
        return out + self.bias[groups].to(out.dtype)
