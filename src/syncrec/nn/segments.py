"""Segments of packed rows laid out anew: one a row, for networks that run along a row, or chosen ones close together.

A packed row holds segments of every domain one behind another. A recurrent network needs each to begin a row of its
own; a network for one domain needs the segments of that domain and no slot of another.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from syncrec.nn.packed import block_causal_mask

__all__ = ["SegmentLayout"]


class SegmentLayout(NamedTuple):
    """Rows of places, R rows of length L: what packed slot each place reads, and where each slot went.

    A segment lies whole in one row, in order. The order of segments is that of their numbers, so that the layout of
    chosen segments does not depend on others. A free place reads a valid slot, and no segment's place attends to it.
    """

    slots: Tensor  # int64 [R, L], flat slot that a place reads
    segments: Tensor  # int64 [R, L], segment of a place, counted among those chosen; -1 where the place is free
    places: Tensor  # int64 [slots], flat place of each slot; out of range for slots that are not laid out

    @classmethod
    def of(
        cls, segments: Tensor, positions: Tensor, is_chosen: Tensor | None = None, *, shares_rows: bool = False
    ) -> "SegmentLayout":
        """Lay out the segments of packed rows, int64 [rows, length] as in `PackedView`; slots of segment -1 are left.

        Args:
            segments: number of each slot's segment.
            positions: place of each slot in its segment.
            is_chosen: bool [rows, length], the same for all slots of a segment; None: all of them.
            shares_rows: several short segments a row, as many as the halves, quarters, ... of a row that they fit
                into; else one a row, at its start. Rows are as long as the longest segment. No segments, no rows.
        """
        flat = segments.flatten()
        is_used = flat >= 0 if is_chosen is None else (flat >= 0) & is_chosen.flatten()
        chosen = is_used.nonzero().squeeze(1)
        _, numbers, lengths = torch.unique(flat[chosen], return_inverse=True, return_counts=True)
        length = int(lengths.max()) if len(lengths) else 1
        starts, num_rows = _shared_rows(lengths, length) if shares_rows else _own_rows(lengths, length)
        taken = starts[numbers] + positions.flatten()[chosen]
        slots = flat.new_zeros(num_rows * length).fill_(chosen[0] if len(chosen) else 0)
        segments_of = torch.full_like(slots, -1)
        places = torch.full_like(flat, num_rows * length)
        slots[taken], segments_of[taken], places[chosen] = chosen, numbers, taken
        return cls(slots.view(num_rows, length), segments_of.view(num_rows, length), places)

    @property
    def mask(self) -> Tensor:
        """Additive attention mask, float32 [R, 1, L, L]: causal inside a segment, -inf between segments."""
        allowed = block_causal_mask(self.segments)
        return torch.zeros(allowed.shape, device=allowed.device).masked_fill_(~allowed, -torch.inf)

    def gather(self, values: Tensor) -> Tensor:
        """What each place reads, [R, L, ...], from `values` [rows, length, ...] of the packed rows."""
        return values.flatten(0, 1)[self.slots]

    def read(self, outputs: Tensor, asked: Tensor) -> Tensor:
        """Rows [N, dim] of `outputs` [R, L, dim] for the packed slots `asked`, int64 [N].

        Raises:
            IndexError: a slot asked for is not laid out (on the CPU).
        """
        return outputs.flatten(0, 1)[self.places[asked]]


def _own_rows(lengths: Tensor, length: int) -> tuple[Tensor, int]:
    """First flat place of each segment, and the number of rows: a row each."""
    return torch.arange(len(lengths), device=lengths.device) * length, len(lengths)


def _shared_rows(lengths: Tensor, length: int) -> tuple[Tensor, int]:
    """The same where a row is cut into 2^c parts, all of one size, for the segments that fit into one of these."""
    cuts = torch.arange(length.bit_length(), device=lengths.device)
    cut = (lengths[:, None] << cuts <= length).sum(1) - 1
    counts = torch.bincount(cut, minlength=len(cuts))
    order = cut.argsort(stable=True)
    rank = torch.empty_like(cut)
    rank[order] = torch.arange(len(cut), device=cut.device) - (counts.cumsum(0) - counts)[cut[order]]
    rows = (counts + (1 << cuts) - 1) >> cuts
    row, part = (rows.cumsum(0) - rows)[cut] + (rank >> cut), rank & ((1 << cut) - 1)
    return row * length + part * (length >> cut), int(rows.sum())
