"""A table of vectors whose rows are shared out over processes, where one device cannot hold all of them.

Process i of n holds rows i ceil(I / n) to (i + 1) ceil(I / n) - 1, and the optimizer's moments of these. A look-up asks
the owners: numbers of rows go out, vectors come back, and in the backward pass gradients go out.

Gradients of everything else are averaged over processes (DistributedDataParallel), so a loss is multiplied by their
number before the backward pass; `weight` divides its own gradient by it.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from syncrec.parallel.collectives import sum_over_processes
from syncrec.parallel.processes import lost_process_is_clear, processes

__all__ = ["ShardedTable", "log_sum_over_processes", "sharded_tables"]


class ShardedTable(nn.Module):
    """What `nn.Embedding` is, by rows on several processes; `weight` are those of this one. Alone, it is whole."""

    def __init__(self, num_rows: int, dim: int, std: float) -> None:
        """Rows are drawn from a normal distribution, by each process its own."""
        super().__init__()
        self.group = processes()
        self.num_rows, self.sparse = num_rows, False
        self.rows_each = -(-num_rows // self.group.size)
        self.start = min(self.group.rank * self.rows_each, num_rows)
        self.stop = min(self.start + self.rows_each, num_rows)
        seed = int(torch.randint(2**62, ()))  # the same in all processes
        generator = torch.Generator().manual_seed(seed + self.group.rank)
        self.weight = nn.Parameter(std * torch.randn(self.stop - self.start, dim, generator=generator))
        if self.group.are_several:  # a row's gradient is the sum over processes; that of all else is averaged
            self.weight.register_hook(lambda g: g / self.group.size)  # type: ignore[no-untyped-call]

    def forward(self, rows: Tensor) -> Tensor:
        """The vectors of `rows` (int64 [...]), [..., dim]; every process must ask at the same time, maybe for none."""
        if not self.group.are_several:
            return nn.functional.embedding(rows, self.weight, sparse=self.sparse)
        asked, places = torch.unique(rows, return_inverse=True)
        with lost_process_is_clear():
            vectors: Tensor = _LookUp.apply(self.weight, asked, self)  # type: ignore[no-untyped-call]
        return vectors[places]


def sharded_tables(module: nn.Module) -> dict[str, ShardedTable]:
    """The tables below `module` of which this process holds a part, by name."""
    tables = {name: part for name, part in module.named_modules() if isinstance(part, ShardedTable)}
    return {name: table for name, table in tables.items() if table.group.are_several}


class _LookUp(torch.autograd.Function):
    """Vectors of distinct rows, ascending, from their owners."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, asked: Tensor, table: ShardedTable) -> Tensor:
        size = table.group.size
        num_asked = torch.bincount(asked // table.rows_each, minlength=size)
        num_wanted = torch.empty_like(num_asked)
        dist.all_to_all_single(num_wanted, num_asked)
        ctx.asked_of, ctx.wanted_by = num_asked.tolist(), num_wanted.tolist()
        wanted = asked.new_empty(sum(ctx.wanted_by))
        dist.all_to_all_single(wanted, asked, ctx.wanted_by, ctx.asked_of)
        ctx.table, ctx.shape = table, weight.shape
        ctx.save_for_backward(wanted - table.start)
        return _exchanged(weight[wanted - table.start], ctx.asked_of, ctx.wanted_by)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The sum of what all processes make of a row, in the process that holds it."""
        (rows,) = ctx.saved_tensors
        with lost_process_is_clear():
            own = _exchanged(gradients[0].contiguous(), ctx.wanted_by, ctx.asked_of)
        gradient = torch.sparse_coo_tensor(rows[None], own, ctx.shape, check_invariants=False)
        return (gradient if ctx.table.sparse else gradient.to_dense()), None, None


def _exchanged(vectors: Tensor, received: list[int], sent: list[int]) -> Tensor:
    out = vectors.new_empty(sum(received), vectors.shape[1])
    dist.all_to_all_single(out, vectors, received, sent)
    return out


def log_sum_over_processes(values: Tensor) -> Tensor:
    """log of the sum over processes of e^x, elementwise, with its gradient."""
    if not processes().are_several:
        return values
    with lost_process_is_clear():
        out: Tensor = _LogSum.apply(values)  # type: ignore[no-untyped-call]
    return out


class _LogSum(torch.autograd.Function):
    """Without overflow; the gradient of a process's value is its share of the sum."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        largest = values.clone()
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        total = sum_over_processes((values - largest).exp()).log() + largest
        ctx.save_for_backward((values - total).exp())
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (share,) = ctx.saved_tensors
        with lost_process_is_clear():
            return sum_over_processes(gradients[0]) * share
