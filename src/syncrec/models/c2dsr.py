"""C2DSR: representations of the domain's own history and of the hybrid one, drawn together by an infomax objective.

Source: Cao et al., *Contrastive Cross-Domain Sequential Recommendation*, CIKM 2022 (arXiv 2304.03891). We had its
abstract and public summaries, but not the full text, and did not use its code.

From there:

- a graph convolution over the directed graph of items, where an item reads the items right before it in training
  histories: one graph of transitions inside domains, one of those in hybrid histories. It gives g_x, the mean of the
  layers, which the encoders read beside the item's embedding;
- a self-attention encoder for each domain, h^d from the history in d, and one for the hybrid history, h;
- the answer to a target in d is made from h^d + h;
- the infomax objective: p^d and p are the means of h^d and of h over a user's positions (prototypes), and p' that of h
  over a hybrid history whose events of d are replaced by random items of d. With a bilinear discriminator for each
  domain, D_d(a, b) = sigmoid(a^T W_d b), the loss is -log D_d(p^d, p) - log(1 - D_d(p^d, p')).

Ours, where the sources are silent or the package differs:

- any number of domains, where the paper has two. One corrupted history a user, of a domain drawn among the user's, so
  that the objective costs one more pass over the hybrid histories however many domains there are; mean over the users
  of a domain, sum over domains. It counts `loss.auxiliary_weight` times;
- one layer of convolution, for the items of the batch alone, over the 8 most frequent items before each, repeats left
  out, all with the same share: so that a step does not depend on the catalogue;
- one item table for both kinds of history, which also scores (M7); the paper has tables and linear scores apart. Start
  tokens count as positions; targets are predicted from the sum alone, not from h a second time;
- encoders, embedding and loss are those of all models here. A domain of one item has no encoder and no infomax loss:
  there is nothing to choose, and no other item to corrupt a history with.

`model.num_experts`, `model.num_cross_experts` and `model.mixing` have no effect.
"""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.data.dataset import Dataset
from syncrec.data.packing import ViewName
from syncrec.data.transitions import preceding_items
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import AnswerName, SequentialModel, TrainingOutput
from syncrec.nn.domains import domain_means, one_of_each
from syncrec.nn.embedding import initialise_linear
from syncrec.nn.graph import GraphConvolution
from syncrec.nn.grouped import grouped_matmul
from syncrec.nn.packed import CausalTransformer
from syncrec.nn.segments import SegmentLayout
from syncrec.parallel import drawn_on

__all__ = ["C2DSR", "Infomax"]

_NUM_NEIGHBOURS = 8


class Infomax(nn.Module):
    """Tells a user's true hybrid history from a corrupted one by the history in a domain."""

    def __init__(self, num_domains: int, dim: int) -> None:
        super().__init__()
        self.discriminator = nn.Parameter(torch.eye(dim).repeat(num_domains, 1, 1) / dim)

    def forward(self, own: Tensor, true: Tensor, corrupted: Tensor, domains: Tensor) -> Tensor:
        """Sum over domains of the mean loss, in nats; 2 log 2 a domain where nothing can be told.

        Args:
            own, true, corrupted: float [S, dim], the prototypes p^d, p and p' of S users.
            domains: int64 [S], ascending.
        """
        counts = torch.bincount(domains, minlength=len(self.discriminator))
        asked = grouped_matmul(own, self.discriminator, counts).float()
        losses = F.softplus(-(asked * true.float()).sum(-1)) + F.softplus((asked * corrupted.float()).sum(-1))
        return domain_means(losses, domains, counts).sum()


class C2DSR(SequentialModel):
    """h^d + h at every target."""

    answer_names: tuple[AnswerName, ...] = ("cross",)
    views: tuple[ViewName, ...] = ("cross", "single")
    sizes: Tensor  # items of each domain, int64 [D]

    def __init__(self, catalogue: Catalogue, config: ModelConfig) -> None:
        super().__init__(catalogue, config)
        size = (config.dim, config.num_layers, config.num_heads, self.hidden_dim, self.dropout)
        sizes = [stop - start for start, stop in pairwise(catalogue.offsets)]
        self.cross_encoder = CausalTransformer(*size)
        self.domain_encoders = nn.ModuleDict({str(d): CausalTransformer(*size) for d, n in enumerate(sizes) if n > 1})
        self.cross_graph = GraphConvolution(catalogue.num_tokens, _NUM_NEIGHBOURS)
        self.single_graph = GraphConvolution(catalogue.num_tokens, _NUM_NEIGHBOURS)
        self.infomax = Infomax(catalogue.num_domains, config.dim)
        self.register_buffer("sizes", torch.tensor(sizes), persistent=False)
        initialise_linear(self)

    def observe(self, dataset: Dataset, ends: npt.NDArray[np.int64]) -> None:
        """Take both graphs of items besides."""
        super().observe(dataset, ends)
        every_domain_alone = np.arange(dataset.num_domains)
        for graph, together in (
            (self.cross_graph, self.catalogue.community_of),
            (self.single_graph, every_domain_alone),
        ):
            found = preceding_items(dataset, ends, together, _NUM_NEIGHBOURS)
            graph.neighbours[: len(found)] = torch.as_tensor(found, dtype=torch.int32)

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        """h^d + h at every target."""
        items = self.cross_graph(batch.cross.tokens, self.embedding.items)
        return {"cross": self._represent_own(batch) + self._represent_mixed(batch, items)}

    def _encode_to_train(self, batch: TensorBatch, generator: torch.Generator) -> TrainingOutput:
        """The same, and the infomax loss."""
        chosen = self._choose_domains(batch, generator)
        both = torch.stack([batch.cross.tokens, self._corrupt(batch, chosen, generator)])
        items, false_items = self.cross_graph(both, self.embedding.items)  # one look-up: its gradient is a whole table
        own, mixed = self._represent_own(batch), self._represent_mixed(batch, items)
        loss = self._infomax_loss((own, mixed, self._represent_mixed(batch, false_items)), batch, chosen)
        return TrainingOutput({"cross": own + mixed}, {"infomax": loss})

    def _represent_mixed(self, batch: TensorBatch, items: Tensor) -> Tensor:
        """h at every target [N, dim], with the vectors `items` [rows, length, dim] for the tokens of the cross view."""
        view = batch.cross
        embedding = self.embed(view, items)
        return self.cross_encoder.at(embedding, view.mask, batch.cross_slots, only_asked=batch.only_asked).float()

    def _represent_own(self, batch: TensorBatch) -> Tensor:
        """h^d at every target [N, dim]; zeros where the domain has no encoder."""
        view = batch.single
        items = self.single_graph(view.tokens, self.embedding.items)
        embedding = self.embed(view, items)
        slots = torch.split(batch.single_slots, batch.domain_counts.tolist())
        return torch.cat([self._of_domain(domain, batch, embedding, asked) for domain, asked in enumerate(slots)])

    def _of_domain(self, domain: int, batch: TensorBatch, embedding: Tensor, asked: Tensor) -> Tensor:
        """h^d at the slots `asked` [N] of one domain, from the segments of that domain alone."""
        if not len(asked) or str(domain) not in self.domain_encoders:
            return torch.zeros(len(asked), self.config.dim, device=asked.device)
        view, encoder = batch.single, self.domain_encoders[str(domain)]
        layout = SegmentLayout.of(view.segments, view.positions, view.domains == domain, shares_rows=True)
        own = layout.gather(embedding)
        if batch.only_asked:
            out: Tensor = encoder(own, layout.mask, layout.places[asked])
            return out.float()
        return layout.read(encoder(own, layout.mask), asked).float()

    def _choose_domains(self, batch: TensorBatch, generator: torch.Generator) -> Tensor:
        """A target of one of the user's domains, drawn evenly, for every user; ascending. One-item domains are out."""
        targets = (self.sizes[batch.domains] > 1).nonzero().squeeze(1)
        users, domains = batch.users[targets], batch.domains[targets]
        luck = batch.rows.uniform(generator, 2)
        targets = targets[one_of_each(users * self.catalogue.num_domains + domains, luck[targets, 0])]
        return targets[one_of_each(batch.users[targets], luck[targets, 1])]

    def _corrupt(self, batch: TensorBatch, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Tokens of the cross view; those in the domain of the user's `chosen` target are random items of it."""
        view, domains = batch.cross, batch.cross.domains.flatten()
        user_of = batch.users.new_zeros(len(domains)).index_put((batch.cross_slots,), batch.users)
        replaced = (domains == _domain_of_users(batch, chosen)[user_of]).nonzero().squeeze(1)
        seed = int(torch.randint(2**62, (), generator=generator))  # one, wherever: others follow
        draws = drawn_on(replaced.device, torch.Generator().manual_seed(seed), len(replaced))
        starts = torch.tensor(self.catalogue.offsets, device=replaced.device)[domains[replaced]]
        sizes = self.sizes[domains[replaced]]
        items = starts + torch.minimum((draws * sizes).long(), sizes - 1)
        return view.tokens.flatten().index_put((replaced,), items).view_as(view.tokens)

    def _infomax_loss(self, parts: tuple[Tensor, Tensor, Tensor], batch: TensorBatch, chosen: Tensor) -> Tensor:
        """From h^d, h and the corrupted h at every target [N, dim], for the users and domains of `chosen` targets."""
        own, mixed, corrupted = parts
        users, num_users = batch.users, batch.user_limit
        is_own = batch.domains == _domain_of_users(batch, chosen)[users]
        anchors = users[chosen]

        def prototypes(rows: Tensor, users: Tensor) -> Tensor:
            return domain_means(rows, users, torch.bincount(users, minlength=num_users))[anchors]

        loss: Tensor = self.infomax(
            prototypes(own[is_own], users[is_own]),
            prototypes(mixed, users),
            prototypes(corrupted, users),
            batch.domains[chosen],
        )
        return loss


def _domain_of_users(batch: TensorBatch, chosen: Tensor) -> Tensor:
    """The domain of each user's `chosen` target, int64 [users]; -1 where there is none."""
    none = batch.users.new_full((max(1, batch.user_limit),), -1)  # a share without users still has a slot of user 0
    return none.index_put((batch.users[chosen],), batch.domains[chosen])
