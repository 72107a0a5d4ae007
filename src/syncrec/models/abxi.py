"""ABXI: one encoder for every sequence, low-rank adapters for what differs, and an invariant interest from the mixture.

Source: Bian et al., *ABXI: Invariant Interest Adaptation for Task-Guided Cross-Domain Sequential Recommendation*, WWW
2025 (arXiv 2501.15118): its abstract, and what the authors published with it about the network and its settings.

From there:

- one Transformer encodes a user's sequence of each domain and the mixed one, each kind with a domain LoRA (dLoRA);
- task-guided alignment: the mixed sequence is paired with the sequence of the *target's* domain up to the target, and
  not with whatever domain the last event lies in. Here that is the slot of the single view;
- a projector P, shared by all domains, takes the invariant interest from the mixed representation h_x, an invariant
  LoRA (iLoRA) adapts it to each domain, and a projector of the domain refines its own representation h_d:
  y_d = LN_d(h_x + P h_x + B_d A_d h_x) + LN'_d(h_d + P_d h_d);
- InfoNCE against negatives of the target's domain: `loss.kind = "sampled"` (theirs: temperature 0.75 on inner
  products, 128 negatives).

Ours, where the package differs:

- the encoder is that of all models here (normalisation before each part, ReLU, no gate in the feed-forward part), and a
  dLoRA acts on the output of each of its blocks: h + B A h. B is zero at first, as in LoRA (Hu et al., ICLR 2022), but
  nothing is frozen;
- the embedding is that of all models here, with domain and time, and a start token; theirs has positions from the end;
- the answer is called `cross`, as it has read the whole hybrid history;
- the rank of all adapters is dim / 8 (theirs is tuned, 4 to 64 at dim 256);
- any number of domains, where the paper has two;
- the loss is that of the configuration, with negatives shared within a domain of the batch, and by default a mean over
  targets (theirs: 128 negatives of each domain for each target without log-Q correction; over users of the means of
  their targets, `loss.mean_over = "users"`);
- the history of the target's domain is always read (in their evaluation not after an event of another domain:
  `benchmarks/abxi_own_history.py`).

`model.num_experts`, `model.num_cross_experts` and `model.mixing` have no effect.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.data.packing import ViewName
from syncrec.models.batch import TensorBatch, TensorView
from syncrec.models.interface import AnswerName, SequentialModel
from syncrec.nn.embedding import initialise_linear
from syncrec.nn.grouped import grouped_layer_norm
from syncrec.nn.mixture import TaskTowers
from syncrec.nn.packed import CausalTransformer

__all__ = ["ABXI", "AdaptedEncoder", "LowRankAdapters"]

_DIM_PER_RANK = 8


class LowRankAdapters(nn.Module):
    """B_g A_g x with A_g [rank, dim] and B_g [dim, rank] of the row's group g; B, and so the map, is zero at first."""

    def __init__(self, num_groups: int, dim: int, rank: int) -> None:
        super().__init__()
        self.num_groups, self.rank = num_groups, rank
        self.down = nn.Linear(dim, num_groups * rank, bias=False)
        self.up = nn.Linear(num_groups * rank, dim, bias=False)
        initialise_linear(self.down)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor, groups: Tensor) -> Tensor:
        """Map `x` [..., dim] by the adapters of `groups`, int64 [...].

        All A_g are one product and all B_g another; between them the other groups' numbers are set to zero.
        """
        narrow = self.down(x).unflatten(-1, (self.num_groups, self.rank))
        is_own = F.one_hot(groups, self.num_groups).unsqueeze(-1).to(narrow.dtype)
        return self.up((narrow * is_own).flatten(-2))


class AdaptedEncoder(nn.Module):
    """One causal Transformer for all groups, with an adapter of the group behind each block."""

    def __init__(self, encoder: CausalTransformer, num_groups: int, dim: int, rank: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.adapters = nn.ModuleList(LowRankAdapters(num_groups, dim, rank) for _ in encoder.blocks)

    def forward(self, x: Tensor, mask: Tensor, groups: Tensor, asked: Tensor | None = None) -> Tensor:
        """As `CausalTransformer`, with the group of every slot, int64 [rows, length]."""
        last = len(self.adapters) - 1
        for index, (block, adapter) in enumerate(zip(self.encoder.blocks, self.adapters, strict=True)):
            if index == last and asked is not None:
                x, groups = block(x, mask, asked), groups.flatten()[asked]
            else:
                x = block(x, mask)
            x = x + adapter(x, groups)
        out: Tensor = self.encoder.norm(x)
        return out


class ABXI(SequentialModel):
    """The invariant interest, adapted to the target's domain, and the interest in that domain, added up."""

    answer_names: tuple[AnswerName, ...] = ("cross",)
    views: tuple[ViewName, ...] = ("cross", "single")

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__(catalogue, config)
        dim, rank, num_domains = config.dim, max(1, config.dim // _DIM_PER_RANK), catalogue.num_domains
        encoder = CausalTransformer(dim, config.num_layers, config.num_heads, self.hidden_dim, self.dropout)
        self.projector_in = nn.Linear(dim, self.hidden_dim)
        self.projector_out = nn.Linear(self.hidden_dim, dim)
        for part in (encoder, self.projector_in, self.projector_out):
            initialise_linear(part)
        self.encoder = AdaptedEncoder(encoder, num_domains + 1, dim, rank)
        self.invariant_adapters = LowRankAdapters(num_domains, dim, rank)
        self.invariant_scale = nn.Parameter(torch.ones(num_domains, dim))
        self.invariant_shift = nn.Parameter(torch.zeros(num_domains, dim))
        self.domain_projectors = TaskTowers(num_domains, dim, self.hidden_dim, self.dropout)

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """y_d at every target."""
        mixed = self._represent(batch.cross, batch.cross_slots, batch.only_asked, is_cross=True)
        own = self._represent(batch.single, batch.single_slots, batch.only_asked, is_cross=False)
        return {"cross": self._invariant(mixed, batch) + self.domain_projectors(own, batch.domain_counts)}

    def _invariant(self, mixed: Tensor, batch: TensorBatch) -> Tensor:
        """LN_d(h_x + P h_x + B_d A_d h_x) for the domain d of each target, float32 [N, dim]."""
        projected = self.projector_out(self.dropout(F.relu(self.projector_in(mixed))))
        adapted = self.invariant_adapters(mixed, batch.domains)
        out = self.dropout.add(self.dropout.add(mixed, projected), adapted).float()
        return grouped_layer_norm(out, self.invariant_scale, self.invariant_shift, batch.domain_counts)

    def _represent(self, view: TensorView, slots: Tensor, only_asked: bool, *, is_cross: bool) -> Tensor:
        """The adapted encoder's output at the flat `slots` [N] of a view, [N, dim]; the mixed sequence is group D."""
        embedding = self.embed(view)
        groups = view.domains.new_full(view.domains.shape, self.catalogue.num_domains) if is_cross else view.domains
        if only_asked:
            return self.encoder(embedding, view.mask, groups, slots)
        return self.encoder(embedding, view.mask, groups).flatten(0, 1).index_select(0, slots)
