"""The embedding that both views share (M2)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from syncrec.nn.dropout import PooledDropout
from syncrec.nn.item_table import ItemTable

__all__ = ["HistoryEmbedding", "PositionEmbedding", "TimeEmbedding"]


_NUM_GAPS = 24
_MINUTE_S = 60.0


class TimeEmbedding(nn.Module):
    """When an event happened: the period of the training data it lies in, and the time since the event before it.

    Not in the paper. Which items are alive changes over the years, and a purchase on the same day says something else
    than one a year later. Events after the training data lie in its last period. A start token has no time (code 0),
    and the first event of a sequence nothing before it. The gap is that within the sequence, so that the single view
    knows of no other domain.
    """

    edges: Tensor

    def __init__(self, dim: int, num_periods: int, edges: Sequence[int] = ()) -> None:
        """`edges`: `num_periods - 1` ascending unix times between the periods; none: they come from a checkpoint."""
        super().__init__()
        self.periods = nn.Embedding(num_periods + 1, dim)
        self.gaps = nn.Embedding(_NUM_GAPS + 1, dim)
        nn.init.zeros_(self.periods.weight)  # times say nothing at first: noise in place of a signal delays learning
        nn.init.zeros_(self.gaps.weight)
        self.register_buffer("edges", torch.tensor(edges or [0] * (num_periods - 1), dtype=torch.int64))

    def forward(self, times: Tensor, positions: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Embed `times` (unix seconds) of events at `positions` of their sequences, int64 [rows, length] each.

        The event in a slot that is `hidden` (bool [rows, length]) has no time, and the one after it nothing before it.

        Returns:
            float [rows, length, dim].
        """
        periods = (torch.bucketize(times, self.edges, right=True) + 1) * (positions > 0)
        gaps = self.gap_codes(times - times.roll(1, -1)) * (positions > 1)
        if hidden is not None:
            periods, gaps = periods.masked_fill(hidden, 0), gaps.masked_fill(hidden | hidden.roll(1, -1), 0)
        out: Tensor = self.periods(periods) + self.gaps(gaps)
        return out

    def gap_codes(self, seconds: Tensor) -> Tensor:
        """The code of a time between two events, int64: from 1, one more for each doubling, never less for longer."""
        minutes = seconds.clamp(min=0) / _MINUTE_S
        return (minutes.add(1).log2().ceil().long() + 1).clamp(max=_NUM_GAPS)


class PositionEmbedding(nn.Module):
    """The vector of a token's position from the start of its sequence, from its end, or both, added up.

    The start token has position 0 in either count, and the last event 1 from the end. Positions behind `last`, the last
    one that training asks for, share its vector: their own would be what was drawn at first, and the users of the
    longest histories meet them, for they are asked after one event more than in training, or two.
    """

    last: Tensor

    def __init__(self, count: str, max_length: int, dim: int) -> None:
        """`count`: "start", "end" or "both"."""
        super().__init__()
        self.from_start = nn.Embedding(max_length + 1, dim) if count != "end" else None
        self.from_end = nn.Embedding(max_length + 1, dim) if count != "start" else None
        self.register_buffer("last", torch.tensor(max_length))
        for table in (self.from_start, self.from_end):
            if table is not None:
                nn.init.normal_(table.weight, std=0.02)

    def end_at(self, last: int) -> None:
        """Take note of the last position that training asks for; below 0 there is none but the start token's."""
        self.last.fill_(max(0, last))

    def forward(self, from_start: Tensor, from_end: Tensor | None) -> Tensor:
        """The vectors [..., dim] of positions, int64 [...] each; `from_end` may be None where it is not counted."""
        both = ((self.from_start, from_start), (self.from_end, from_end))
        first, *more = [table(torch.minimum(p, self.last)) for table, p in both if table is not None and p is not None]
        out: Tensor = first + more[0] if more else first
        return out


class HistoryEmbedding(nn.Module):
    """e = item(x) + domain(dom(x)) + position + time, then LayerNorm and dropout (model.md (M2); time is ours).

    The item table also holds the D + 1 start tokens behind the items. It is the table that scores are taken with
    (M7), so items keep their indices.
    """

    def __init__(
        self,
        num_tokens: int,
        num_domains: int,
        max_length: int,
        dim: int,
        dropout: PooledDropout,
        time: TimeEmbedding | None = None,
        items: nn.Module | None = None,
        count: str = "start",
    ) -> None:
        """`items`: the item table, already with its first values; None: a fresh one; `count`: of positions."""
        super().__init__()
        table: Any = ItemTable(num_tokens, dim) if items is None else items
        self.items = table
        self.domains = nn.Embedding(num_domains + 1, dim)
        self.positions = PositionEmbedding(count, max_length, dim)
        self.time = time
        self.norm = nn.LayerNorm(dim)
        self.dropout = dropout
        if items is None:
            nn.init.normal_(table.weight, std=0.02)
        nn.init.normal_(self.domains.weight, std=0.02)

    def forward(
        self,
        tokens: Tensor,
        domains: Tensor,
        positions: Tensor,
        times: Tensor,
        items: Tensor | None = None,
        from_end: Tensor | None = None,
    ) -> Tensor:
        """Embed codes and times of equal shape [rows, length] to float [rows, length, dim].

        Args:
            tokens, domains, times: codes, and unix seconds.
            positions: in the sequence, the start token has 0.
            items: float [rows, length, dim], vectors to take instead of the tokens' rows of the item table.
            from_end: positions from the end; None where these are not counted.
        """
        places = self.positions(positions, from_end)
        total = (self.items(tokens) if items is None else items) + self.domains(domains) + places
        if self.time is not None:
            total = total + self.time(times, positions)
        out: Tensor = self.dropout(self.norm(total))
        return out


def initialise_linear(module: nn.Module) -> None:
    """Truncated normal weights (std 0.02) and zero biases for every `nn.Linear` below `module`."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                torch.nn.init.zeros_(part.bias)
