"""Draws that do not depend on how many processes share a batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BatchRows", "drawn_on"]


@dataclass(frozen=True)
class BatchRows:
    """Where rows stand in the batch of all processes together: `numbers` int64 [N], each in 0..total-1.

    Chance is drawn for the whole batch by every process, with the same generator, and each takes the draws of its own
    rows. So one process draws what several do.
    """

    numbers: Tensor
    total: int

    @classmethod
    def of(cls, count: int) -> "BatchRows":
        """All rows of a batch of `count`, in order."""
        return cls(torch.arange(count), count)

    def take(self, chosen: Tensor) -> "BatchRows":
        """Some of the rows."""
        return BatchRows(self.numbers[chosen], self.total)

    def uniform(self, generator: torch.Generator, *shape: int) -> Tensor:
        """Numbers in [0, 1) for each row [N, *shape], as `drawn_on`; `generator` is the same everywhere."""
        return drawn_on(self.numbers.device, generator, self.total, *shape)[self.numbers]


def drawn_on(device: torch.device, generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers in [0, 1) from a generator on the CPU, float64; on an Apple GPU, which has none, float32 up to 1."""
    drawn = torch.rand(*shape, dtype=torch.float64, generator=generator)
    return (drawn.float() if device.type == "mps" else drawn).to(device)
