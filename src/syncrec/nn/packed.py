"""Attention and Transformer blocks over rows of packed segments.

Source: Vaswani et al. 2017 (attention), with layer normalisation before each part (Xiong et al. 2020); causal as in
SASRec (Kang and McAuley 2018). A token attends to itself and to earlier tokens of its own segment.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncrec.nn.attention import attention, packed_attention
from syncrec.nn.dropout import PooledDropout

__all__ = ["CausalTransformer", "block_causal_mask", "block_mask"]


def block_mask(segments: Tensor) -> Tensor:
    """Which slots a slot may read: True where both lie in one segment; shapes as in `block_causal_mask`."""
    return (segments.unsqueeze(2) == segments.unsqueeze(1)).unsqueeze(1)


def block_causal_mask(segments: Tensor) -> Tensor:
    """Which slots a slot may read: True where both lie in one segment and the second is not later.

    Args:
        segments: int [rows, length], the segment of each slot.

    Returns:
        bool [rows, 1, length, length].
    """
    return torch.tril(block_mask(segments))


class _Block(nn.Module):
    def __init__(self, dim: int, num_heads: int, hidden_dim: int, dropout: PooledDropout) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_out = nn.Linear(dim, dim)
        self.feedforward_norm = nn.LayerNorm(dim)
        self.feedforward_in = nn.Linear(dim, hidden_dim)
        self.feedforward_out = nn.Linear(hidden_dim, dim)
        self.dropout = dropout

    def forward(self, x: Tensor, mask: Tensor, asked: Tensor | None = None) -> Tensor:
        normed = self.attention_norm(x)
        if asked is None:
            x = self.dropout.add(x, self._attend(normed, mask))
        else:
            x = self.dropout.add(x.flatten(0, 1)[asked], self._attend_at(normed, mask, asked))
        hidden = self.dropout(F.relu(self.feedforward_in(self.feedforward_norm(x))))
        return self.dropout.add(x, self.feedforward_out(hidden))

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.attention_out(packed_attention(self.query_key_value(x), mask, self.num_heads))

    def _attend_at(self, x: Tensor, mask: Tensor, asked: Tensor) -> Tensor:
        """What the slots `asked` [N] read, [N, dim]: keys and values of all slots, queries of those alone."""
        length, dim = x.shape[1:]
        rows, heads = asked // length, (self.num_heads, dim // self.num_heads)
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        query = F.linear(x.flatten(0, 1)[asked], weight[:dim], bias[:dim]).view(-1, *heads)
        pairs = F.linear(x, weight[dim:], bias[dim:]).view(*x.shape[:2], 2, *heads)[rows]
        key, value = pairs.permute(2, 0, 3, 1, 4)
        readable = mask[rows, :, (asked % length)].unsqueeze(2)
        return self.attention_out(attention(query.unsqueeze(2), key, value, readable).reshape(-1, dim))


class CausalTransformer(nn.Module):
    """Transformer encoder over packed rows: one sequential expert (M3); causal if the mask it is given is."""

    def __init__(self, dim: int, num_layers: int, num_heads: int, hidden_dim: int, dropout: PooledDropout) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_Block(dim, num_heads, hidden_dim, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor, mask: Tensor, asked: Tensor | None = None) -> Tensor:
        """Encode every slot, or those that are asked for.

        Args:
            x: float [rows, length, dim].
            mask: additive float [rows, 1, length, length]: 0 where a slot may read, -inf elsewhere.
            asked: int64 [N], flat slots. The last layer is computed there alone, most of the work of one layer.

        Returns:
            float [rows, length, dim], or [N, dim] of the slots asked for.
        """
        for block in self.blocks[:-1]:
            x = block(x, mask)
        x = self.blocks[-1](x, mask, asked)
        out: Tensor = self.norm(x)
        return out

    def at(self, x: Tensor, mask: Tensor, slots: Tensor, *, only_asked: bool) -> Tensor:
        """What it makes of the flat `slots`, int64 [N]; `x` and `mask` as for `forward`.

        Args:
            only_asked: whether `slots` are few of all, so that the last layer is computed there alone.

        Returns:
            float [N, dim].
        """
        out: Tensor = self(x, mask, slots) if only_asked else self(x, mask).flatten(0, 1).index_select(0, slots)
        return out
