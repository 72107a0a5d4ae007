"""What the items of a history themselves say about the next one, beside what a network makes of them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ItemSimilarity"]

_FIRST_WEIGHT = 0.5
_NEVER = -1e9  # finite: where nothing may be read the softmax is no NaN, and multiplied by 0
_FIRST_DECAY = 0.7  # of an event for each one after it, as item-kNN has it


class ItemSimilarity(nn.Module):
    """A decaying mean of the history's item vectors, to be added to an answer (FISM: Kabbur et al., KDD 2013).

    The score of an item then has a part that is its similarity to the items of the history, the latest ones above all:
    what FISSA (Lin et al., RecSys 2020) adds to self-attention, here with one weight and one decay for each task and
    without attention. A network has to learn to let an item vector through; this part lets it through from the start.
    In training events are left out at random, so that the rest of them, and the network, learn to do without.
    """

    def __init__(self, num_tasks: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((num_tasks, 1), _FIRST_WEIGHT))
        first_rate = -math.log(_FIRST_DECAY)
        self.shift = nn.Parameter(torch.full((num_tasks,), math.log(math.expm1(first_rate))))  # softplus gives the rate
        self.dropout = dropout

    def forward(
        self, vectors: Tensor, is_item: Tensor, positions: Tensor, mask: Tensor, slots: Tensor, tasks: Tensor
    ) -> Tensor:
        """The part of the answer at some slots; zero where there is no event before.

        Args:
            vectors: of the items, float [rows, length, dim].
            is_item: whether a slot holds an event, bool [rows, length]; start tokens are none.
            positions: of slots in their segments, int64 [rows, length].
            mask: additive float [rows, 1, length, length]; 0 where a slot (third axis) may read another (fourth).
            slots: flat slots that are asked, int64 [N].
            tasks: of each of them, int64 [N].

        Returns:
            float [N, dim].
        """
        length = positions.shape[1]
        rows = slots // length
        if self.training and self.dropout:
            is_item = is_item & (torch.rand(is_item.shape, device=is_item.device) >= self.dropout)
        may_read = (mask.squeeze(1).flatten(0, 1).index_select(0, slots) == 0) & is_item.index_select(0, rows)
        distances = positions.flatten().index_select(0, slots)[:, None] - positions.index_select(0, rows)
        decays = -F.softplus(self.shift)[tasks, None] * distances
        weights = decays.masked_fill(~may_read, _NEVER).softmax(1) * may_read * self.weight[tasks]
        return _sum_rows(weights, vectors.float(), slots)


def _sum_rows(weights: Tensor, vectors: Tensor, slots: Tensor) -> Tensor:
    """sum_s weights[n, s] vectors[row of n, s], [N, dim]: as one product a row, each with all its slots."""
    num_rows, length, dim = vectors.shape
    if len(slots) * 4 < num_rows * length:
        return torch.bmm(weights[:, None], vectors.index_select(0, slots // length)).squeeze(1)
    whole = weights.new_zeros(num_rows * length, length).index_copy(0, slots, weights).view(num_rows, length, length)
    return torch.bmm(whole, vectors).view(-1, dim).index_select(0, slots)
