"""What several encoders make of the same slots, and their gated sum: for models whose tasks share one view."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from syncrec.nn.packed import CausalTransformer

__all__ = ["encode_at", "gated_sum"]


def encode_at(
    encoders: Iterable[nn.Module], embedding: Tensor, mask: Tensor, slots: Tensor, *, only_asked: bool
) -> Tensor:
    """What each of `encoders`, one `CausalTransformer` or more, makes of the flat `slots`.

    Other arguments are those of `CausalTransformer.at`.

    Returns:
        float [N, K, dim].
    """
    transformers = cast("Iterable[CausalTransformer]", encoders)
    return torch.stack([encoder.at(embedding, mask, slots, only_asked=only_asked) for encoder in transformers], 1)


def gated_sum(weights: Tensor, outputs: Tensor) -> Tensor:
    """sum_k weights[:, k] outputs[:, k], float32 [N, dim], for `weights` [N, K] and `outputs` [N, K, dim]."""
    return (weights.float().unsqueeze(-1) * outputs.float()).sum(1)
