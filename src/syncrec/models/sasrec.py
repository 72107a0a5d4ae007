"""SASRec: one causal Transformer over the hybrid history; the plain model that others are measured against.

Source: Kang and McAuley, ICDM 2018 (arXiv 1808.09781). Departures: layer normalisation before each part, and
the loss is that of the configuration. On a dataset of one domain this is the single-domain model.
"""

from torch import Tensor

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.models.batch import TensorBatch
from syncrec.models.frozen import FrozenTransformer
from syncrec.models.interface import AnswerName, HistoryEncoder, SequentialModel
from syncrec.nn.embedding import initialise_linear
from syncrec.nn.packed import CausalTransformer

__all__ = ["SASRec"]


class SASRec(SequentialModel):
    """The cross answer alone: the last position of the hybrid history."""

    answer_names: tuple[AnswerName, ...] = ("cross",)

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__(catalogue, config)
        self.encoder = CausalTransformer(config.dim, config.num_layers, config.num_heads, self.hidden_dim, self.dropout)
        initialise_linear(self.encoder)

    def frozen(self) -> HistoryEncoder | None:
        """Without torch where there is one layer."""
        if self.config.num_layers > 1:
            return None
        return FrozenTransformer(self, self.encoder)

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """The encoder's output at every target."""
        view = batch.cross
        found = self.encoder.at(self.embed(view), view.mask, batch.cross_slots, only_asked=batch.only_asked)
        return {"cross": found.float()}
