"""What several encoders make of the same slots, and their gated sum: for models whose tasks share one view."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["encode_at", "gated_sum"]


def encode_at(
    encoders: Iterable[nn.Module], embedding: Tensor, mask: Tensor, slots: Tensor, *, only_asked: bool
) -> Tensor:
    """What each of `encoders`, at least one, makes of the flat `slots`.

    Args:
        encoders: modules with the arguments of `CausalTransformer`.
        embedding: float [rows, length, dim].
        mask: additive float [rows, 1, length, length].
        slots: int64 [N].
        only_asked: whether `slots` are few of all, so that the last layer is computed there alone.

    Returns:
        float [N, K, dim].
    """
    if only_asked:
        return torch.stack([encoder(embedding, mask, slots) for encoder in encoders], 1)
    return torch.stack([encoder(embedding, mask).flatten(0, 1).index_select(0, slots) for encoder in encoders], 1)


def gated_sum(weights: Tensor, outputs: Tensor) -> Tensor:
    """sum_k weights[:, k] outputs[:, k], float32 [N, dim], for `weights` [N, K] and `outputs` [N, K, dim]."""
    return (weights.float().unsqueeze(-1) * outputs.float()).sum(1)
