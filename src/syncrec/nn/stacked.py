"""Several experts of one layer in one pass, for answers: a few large products instead of many small ones.

A single question has so little to compute that calling an operation costs more than what it does. The parameters are
copied and folded, so this is for weights that do not change any more.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncrec.nn.attention import attention
from syncrec.nn.packed import CausalTransformer

__all__ = ["StackedExperts"]


class StackedExperts:
    """Gives what `experts`, each with one layer, give at the slots asked; equal up to rounding.

    The scale and shift of a layer normalisation go into the weights and biases of the product after it.
    """

    def __init__(self, experts: Sequence[CausalTransformer]) -> None:
        blocks: list[Any] = [expert.blocks[0] for expert in experts]
        if any(len(expert.blocks) != 1 for expert in experts):
            raise ValueError("experts of one layer can be stacked, no others")
        self._count, self._num_heads = len(blocks), blocks[0].num_heads
        dim: int = blocks[0].attention_out.in_features
        self._dim = dim
        weights, biases = zip(*(_folded(b.attention_norm, b.query_key_value) for b in blocks), strict=True)
        self._query = torch.cat([weight[:dim] for weight in weights]), torch.cat([bias[:dim] for bias in biases])
        self._pairs = torch.cat([weight[dim:] for weight in weights]), torch.cat([bias[dim:] for bias in biases])
        self._attention_out = _stacked([(b.attention_out.weight, b.attention_out.bias) for b in blocks])
        self._inner = _stacked([_folded(b.feedforward_norm, b.feedforward_in) for b in blocks])
        self._outer = _stacked([(b.feedforward_out.weight, b.feedforward_out.bias) for b in blocks])
        self._scale = _rows(lambda expert: expert.norm.weight, experts)
        self._shift = _rows(lambda expert: expert.norm.bias, experts)

    def __call__(self, x: Tensor, mask: Tensor, asked: Tensor) -> Tensor:
        """As `CausalTransformer.forward` with `asked`, of every expert: float [K, N, dim]."""
        normed = F.layer_norm(x, (self._dim,))
        read = self._attend(normed, mask, asked)
        x = x.flatten(0, 1)[asked] + _product(read, self._attention_out)
        hidden = F.relu(_product(F.layer_norm(x, (self._dim,)), self._inner))
        x = x + _product(hidden, self._outer)
        return torch.addcmul(self._shift, F.layer_norm(x, (self._dim,)), self._scale)

    def _attend(self, x: Tensor, mask: Tensor, asked: Tensor) -> Tensor:
        """What the slots `asked` [N] read, [K, N, dim]: the heads of all experts side by side."""
        length = x.shape[1]
        rows, heads = asked // length, (self._count, self._num_heads, self._dim // self._num_heads)
        query = F.linear(x.flatten(0, 1)[asked], *self._query).view(len(asked), -1, 1, heads[2])
        pairs = F.linear(x, *self._pairs).view(*x.shape[:2], self._count, 2, *heads[1:])[rows]
        key, value = pairs.permute(3, 0, 2, 4, 1, 5).flatten(2, 3)
        readable = mask[rows, :, (asked % length)].unsqueeze(2)
        out = attention(query, key, value, readable)
        return out.view(len(asked), self._count, self._dim).transpose(0, 1)


def _folded(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of `linear` after `norm`, for input that is normalised without scale and shift."""
    weight = linear.weight.detach()
    return weight * norm.weight.detach(), linear.bias.detach() + weight @ norm.bias.detach()


def _stacked(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Weights [K, in, out] and biases [K, 1, out]."""
    weights = torch.stack([weight.detach().T for weight, _ in parts]).contiguous()
    return weights, torch.stack([bias.detach()[None] for _, bias in parts])


def _rows(choose: Callable[[CausalTransformer], Tensor], experts: Sequence[CausalTransformer]) -> Tensor:
    return torch.stack([choose(expert).detach()[None] for expert in experts])


def _product(x: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
    weight, bias = affine
    return torch.baddbmm(bias, x, weight)
