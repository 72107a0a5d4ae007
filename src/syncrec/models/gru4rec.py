"""GRU4Rec: gated recurrent units along the hybrid history.

Source: Hidasi et al., ICLR 2016 (arXiv 1511.06939); Hidasi and Karatzoglou, CIKM 2018 (arXiv 1706.03847). As in the
authors' code: dropout on the input and on every layer's output; items are scored with the vectors they are read with
("constrained embedding"). Departures, so that models differ in what reads the history and in
nothing else: the input is the embedding that all models share, with domain, position and layer normalisation (M2); the
loss is that of the configuration, not BPR, TOP1 or their maximum; no item biases; users are batched whole instead of
in parallel sessions, so that gradients run through the whole history; AdamW instead of Adagrad.
"""

from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import AnswerName, SequentialModel
from syncrec.nn.segments import SegmentLayout

__all__ = ["GRU4Rec"]


class GRU4Rec(SequentialModel):
    """The cross answer alone: the hidden state after the last event of the hybrid history."""

    answer_names: tuple[AnswerName, ...] = ("cross",)

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__(catalogue, config)
        self.layers = nn.ModuleList(nn.GRU(config.dim, config.dim, batch_first=True) for _ in range(config.num_layers))

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """The last layer's state at every target; a state needs all before it, so `only_asked` spares nothing."""
        view = batch.cross
        layout = SegmentLayout.of(view.segments, view.positions)
        states = layout.gather(self.embed(view))
        for layer in self.layers:
            states = self.dropout(layer(states)[0])
        return {"cross": layout.read(states, batch.cross_slots).float()}
