"""The embedding that both views share (M2)."""

import torch
from torch import Tensor, nn

from syncrec.nn.dropout import PooledDropout

__all__ = ["HistoryEmbedding"]


class HistoryEmbedding(nn.Module):
    """e = item(x) + domain(dom(x)) + position, then LayerNorm and dropout (model.md (M2)).

    The item table also holds the D + 1 start tokens behind the items. It is the table that scores are taken with
    (M7), so items keep their indices.
    """

    def __init__(self, num_tokens: int, num_domains: int, max_length: int, dim: int, dropout: PooledDropout) -> None:
        super().__init__()
        self.items = nn.Embedding(num_tokens, dim)
        self.domains = nn.Embedding(num_domains + 1, dim)
        self.positions = nn.Embedding(max_length + 1, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = dropout
        for table in (self.items, self.domains, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Tensor, domains: Tensor, positions: Tensor) -> Tensor:
        """Embed codes of equal shape [...] to float [..., dim]."""
        out: Tensor = self.dropout(self.norm(self.items(tokens) + self.domains(domains) + self.positions(positions)))
        return out


def initialise_linear(module: nn.Module) -> None:
    """Truncated normal weights (std 0.02) and zero biases for every `nn.Linear` below `module`."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                torch.nn.init.zeros_(part.bias)
