"""What processes tell each other in a step; alone, each function gives back what it was given."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from syncrec.parallel.processes import lost_process_is_clear, processes

__all__ = [
    "PendingRows",
    "PendingSum",
    "gather_rows",
    "gather_strided",
    "sum_over_processes",
]


class PendingSum:
    """The sum of all processes' `values`, of one shape, bit for bit the same in each; without gradient.

    It is under way once this is made, and nobody waits for it before `result` is asked for.
    """

    def __init__(self, values: Tensor) -> None:
        self._work, self._values = None, values.detach()
        if processes().are_several:
            self._values = self._values.clone()
            with lost_process_is_clear():
                self._work = dist.all_reduce(self._values, async_op=True)

    def result(self) -> Tensor:
        """The sum; the same tensor each time."""
        _wait(self._work)
        self._work = None
        return self._values


def sum_over_processes(values: Tensor) -> Tensor:
    """The result of `PendingSum`, at once."""
    return PendingSum(values).result()


def _wait(work: Any) -> None:
    if work is not None:
        with lost_process_is_clear():
            work.wait()


def gather_rows(*values: Tensor) -> tuple[tuple[Tensor, ...], int]:
    """All processes' rows, one process after another, with their gradient, and the number of rows before one's own.

    Args:
        values: [n, ...] each; n may differ by process, and be 0.
    """
    if not processes().are_several:
        return values, 0
    counts = _counts(len(values[0]))
    pending = [PendingRows(part, counts) for part in values]
    return tuple(part.rows() for part in pending), pending[0].first


class PendingRows:
    """All processes' rows, one process after another, with gradient: of a row the sum of what all processes make of it.

    They are under way once this is made, and nobody waits for them before `rows` is asked for, once.
    """

    def __init__(self, values: Tensor, counts: Sequence[int]) -> None:
        """This process's `values`, [n, ...], and n of every process."""
        group = processes()
        self.values, self.counts = values, counts
        self.first = sum(counts[: group.rank])  # rows before one's own
        self._work, self._parts = None, [values.detach()]
        if group.are_several:
            padded = values.new_zeros(max(counts), *values.shape[1:])
            padded[: len(values)] = self._parts[0]
            self._parts = [torch.empty_like(padded) for _ in counts]
            with lost_process_is_clear():
                self._work = dist.all_gather(self._parts, padded, async_op=True)

    def rows(self) -> Tensor:
        """[sum of counts, ...]."""
        if len(self._parts) == 1:
            return self.values
        out: Tensor = _Gather.apply(self.values, self)  # type: ignore[no-untyped-call]
        return out

    def detached(self) -> Tensor:
        """The same without gradient."""
        _wait(self._work)
        return torch.cat([part[:count] for part, count in zip(self._parts, self.counts, strict=True)])


def gather_strided(values: Tensor) -> Tensor:
    """Entries 0, n, 2n, ... of the first of n processes, 1, n + 1, ... of the second, and so on, put together again."""
    group = processes()
    if not group.are_several:
        return values
    counts = _counts(len(values))
    parts = torch.split(PendingRows(values, counts).rows(), counts)
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
    """`PendingRows` with their gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, pending: PendingRows) -> Tensor:
        del values
        ctx.counts = list(pending.counts)
        return pending.detached()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        with lost_process_is_clear():
            dist.all_reduce(total)
        return torch.split(total, ctx.counts)[processes().rank], None
