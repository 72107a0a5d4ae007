"""What processes tell each other in a step; alone, each function gives back what it was given."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from syncrec.parallel.processes import lost_process_is_clear, processes

__all__ = ["gather_rows", "gather_strided", "maximum_over_processes", "sum_over_processes"]


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of all processes' `values`, of one shape, bit for bit the same in each; without gradient."""
    return _reduced(values, dist.ReduceOp.SUM)


def maximum_over_processes(value: int) -> int:
    """The largest of all processes' values."""
    if not processes().are_several:
        return value
    return int(_reduced(torch.tensor(value), dist.ReduceOp.MAX))


def _reduced(values: Tensor, operation: Any) -> Tensor:
    if not processes().are_several:
        return values.detach()
    out = values.detach().clone()
    with lost_process_is_clear():
        dist.all_reduce(out, operation)
    return out


def gather_rows(*values: Tensor) -> tuple[tuple[Tensor, ...], int]:
    """All processes' rows, one process after another, with their gradient, and the number of rows before one's own.

    Args:
        values: [n, ...] each; n may differ by process, and be 0.
    """
    if not processes().are_several:
        return values, 0
    counts = _counts(len(values[0]))
    return tuple(_gathered(part, counts) for part in values), sum(counts[: processes().rank])


def _gathered(values: Tensor, counts: list[int]) -> Tensor:
    with lost_process_is_clear():
        gathered: Tensor = _Gather.apply(values, counts)  # type: ignore[no-untyped-call]
    return gathered


def gather_strided(values: Tensor) -> Tensor:
    """Entries 0, n, 2n, ... of the first of n processes, 1, n + 1, ... of the second, and so on, put together again."""
    group = processes()
    if not group.are_several:
        return values
    counts = _counts(len(values))
    parts = torch.split(_gathered(values, counts), counts)
    whole = values.new_empty(sum(map(len, parts)), *values.shape[1:])
    for rank, part in enumerate(parts):
        whole[rank :: group.size] = part
    return whole


def _counts(count: int) -> list[int]:
    """`count` of every process."""
    group = processes()
    counts = torch.zeros(group.size, dtype=torch.int64)
    counts[group.rank] = count
    return [int(number) for number in sum_over_processes(counts)]


class _Gather(torch.autograd.Function):
    """All rows in every process; the gradient of a row is the sum of what all processes make of it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        longest = max(counts)
        padded = values.new_zeros(longest, *values.shape[1:])
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded.contiguous())
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        with lost_process_is_clear():
            dist.all_reduce(total)
        return torch.split(total, ctx.counts)[processes().rank], None
