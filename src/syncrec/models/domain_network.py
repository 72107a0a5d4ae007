"""The network of one domain that shares nothing with others but the item table, of which its rows are its own."""

from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.models.batch import TensorView
from syncrec.nn.dropout import PooledDropout
from syncrec.nn.embedding import PositionEmbedding, TimeEmbedding, initialise_linear
from syncrec.nn.packed import CausalTransformer

__all__ = ["DomainNetwork"]


class DomainNetwork(nn.Module):
    """What one domain has besides its items: positions, times, their norm, and a Transformer.

    A domain embedding would be one constant vector; the positions hold it.
    """

    def __init__(
        self, config: ModelConfig, hidden_dim: int, dropout: PooledDropout, time: TimeEmbedding | None
    ) -> None:
        super().__init__()
        self.positions = PositionEmbedding(config.positions, config.max_length, config.dim)
        self.time = time
        self.norm = nn.LayerNorm(config.dim)
        self.encoder = CausalTransformer(config.dim, config.num_layers, config.num_heads, hidden_dim, dropout)
        self.dropout = dropout
        initialise_linear(self.encoder)

    def forward(self, items: Tensor, view: TensorView, slots: Tensor, *, only_asked: bool) -> Tensor:
        """What it makes of the flat `slots` of the single view, from their segments alone.

        Args:
            items: vectors of the view's tokens, float [rows, length, dim].
            view: with segments of any domains.
            slots: of this domain, int64 [N], N >= 1.
            only_asked: whether they are few of all.

        Returns:
            float32 [N, dim].
        """
        layout = view.laid_out_for(slots)
        own = view.in_layout(layout)
        total = layout.gather(items) + self.positions(own.positions, own.positions_from_end)
        if self.time is not None:
            total = total + self.time(own.times, own.positions)
        embedding = self.dropout(self.norm(total))
        return self.encoder.at(embedding, own.mask, layout.places[slots], only_asked=only_asked).float()
