"""Packed batches as tensors on a device."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from syncrec.data.packing import PackedBatch, PackedView
from syncrec.nn.packed import block_causal_mask, block_mask
from syncrec.nn.segments import SegmentLayout
from syncrec.parallel import BatchRows

__all__ = ["TensorBatch", "TensorView"]


@dataclass(frozen=True)
class TensorView:
    """A `PackedView`: int64 tensors [rows, length]."""

    tokens: Tensor
    domains: Tensor
    positions: Tensor
    segments: Tensor
    times: Tensor

    @classmethod
    def of(cls, view: PackedView, device: torch.device) -> "TensorView":
        """The same arrays on `device`."""
        arrays = (view.tokens, view.domains, view.positions, view.segments, view.times)
        return cls(*(_tensor(array, device) for array in arrays))

    @cached_property
    def lengths(self) -> Tensor:
        """How many slots the segment of each slot has, int64 [rows, length]; 1 at slots of no segment."""
        segments = (self.segments + 1).flatten()
        longest = torch.zeros(len(segments) + 1, dtype=torch.int64, device=segments.device)
        longest = longest.scatter_reduce(0, segments, self.positions.flatten() + 1, "amax")
        longest[0] = 1
        return longest[segments].view_as(self.segments)

    @cached_property
    def positions_from_end(self) -> Tensor:
        """1 for the last event of a segment, 2 for the one before it; the start token has 0, int64 [rows, length]."""
        return (self.lengths - self.positions).masked_fill(self.positions == 0, 0)

    def laid_out_for(self, slots: Tensor) -> SegmentLayout:
        """The segments of the flat `slots` (int64 [N]) close together, without any other."""
        is_chosen = torch.zeros(self.segments.numel() + 1, dtype=torch.bool, device=slots.device)
        is_chosen[self.segments.flatten()[slots] + 1] = True
        return SegmentLayout.of(self.segments, self.positions, is_chosen[self.segments + 1], shares_rows=True)

    def in_layout(self, layout: SegmentLayout) -> "TensorView":
        """What `layout`, made of this view, holds of it, as a view of its own."""
        positions = layout.gather(self.positions).masked_fill(layout.segments < 0, 0)
        tokens, domains, times = (layout.gather(values) for values in (self.tokens, self.domains, self.times))
        return TensorView(tokens, domains, positions, layout.segments, times)

    @cached_property
    def mask(self) -> Tensor:
        """Additive attention mask, float32 [rows, 1, length, length]: a slot reads its segment up to itself."""
        return _additive(block_causal_mask(self.segments))

    @cached_property
    def two_way_mask(self) -> Tensor:
        """The same where a slot reads its whole segment, later slots included."""
        return _additive(block_mask(self.segments))


@dataclass(frozen=True)
class TensorBatch:
    """A `PackedBatch`; see there. Per-target tensors are int64 [N], sorted by domain."""

    cross: TensorView
    single: TensorView
    targets: Tensor
    domains: Tensor
    users: Tensor
    cross_slots: Tensor
    single_slots: Tensor
    domain_counts: Tensor
    rows: BatchRows  # where the targets stand among those of all processes, in the order handed in
    only_asked: bool = False

    @classmethod
    def of(cls, batch: PackedBatch, device: torch.device, *, only_asked: bool = False) -> "TensorBatch":
        """The same arrays on `device`; `only_asked` if few slots are targets, so that models spare the others."""
        return cls(
            cross=TensorView.of(batch.cross, device),
            single=TensorView.of(batch.single, device),
            targets=_tensor(batch.targets, device),
            domains=_tensor(batch.domains, device),
            users=_tensor(batch.users, device),
            cross_slots=_tensor(batch.cross_slots, device),
            single_slots=_tensor(batch.single_slots, device),
            domain_counts=_tensor(batch.domain_counts, device),
            rows=BatchRows(
                _tensor(batch.order + batch.first_target, device), batch.num_all_targets or len(batch.targets)
            ),
            only_asked=only_asked,
        )

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def user_limit(self) -> int:
        """One more than the largest number in `users`."""
        return int(self.users.max()) + 1 if len(self) else 0

    def select(self, chosen: Tensor, cross_slots: Tensor, cross: TensorView) -> "TensorBatch":
        """The targets `chosen` (ascending int64 [n]) alone, asked at `cross_slots` [n] of the view `cross`."""
        domains = self.domains[chosen]
        return replace(
            self,
            cross=cross,
            targets=self.targets[chosen],
            domains=domains,
            users=self.users[chosen],
            cross_slots=cross_slots,
            single_slots=self.single_slots[chosen],
            domain_counts=torch.bincount(domains, minlength=len(self.domain_counts)),
            rows=self.rows.take(chosen),
        )

    @property
    def num_slots(self) -> int:
        """Slots of the larger view, or answers if these are more."""
        return max(self.cross.tokens.numel(), self.single.tokens.numel(), 2 * len(self))


def _additive(allowed: Tensor) -> Tensor:
    """0 where reading is allowed, -inf elsewhere."""
    return torch.zeros(allowed.shape, device=allowed.device).masked_fill_(~allowed, -torch.inf)


def _tensor(array: object, device: torch.device) -> Tensor:
    tensor = torch.as_tensor(array)
    return tensor.to(device, non_blocking=True) if device.type != "cpu" else tensor
