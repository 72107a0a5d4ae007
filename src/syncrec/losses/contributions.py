"""What every domain contributes to the answers in every other one, as in a cooperative game, and weights from it.

Source: the game of CGRec (Park et al., CIKM 2023, arXiv 2311.13188; see `syncrec.models.cgrec` for what we had of it);
its solution is that of Shapley (1953), estimated from permutations (Castro et al., Computers & OR 2009).

For the targets in domain d the players are the other domains. A coalition S is worth -l_t(S), where l_t(S) is the
next-item loss of target t after the events of S and of d alone. phi(d, s), the Shapley value of player s, is the mean
over all orders of the players of what s adds to the players before it. Negative: events of s do harm in d.

- A player without events before t adds nothing and is left out: phi(d, s) is the mean over the targets in d that have
  events of s before them.
- A step estimates it from `_MOST_ANCHORS` targets a process at most, drawn one for each user and domain: a random order
  of the players, one player, two passes without gradient and without dropout over these histories, the same negatives
  in both.
- The same network answers after every coalition, though it is trained on whole histories alone: what a network of the
  domain's own could do better is not seen, only what events of the others do to this one. Targets are training targets.
- The estimates move phi as the gap moves lambda in (M9), with the same alpha and beta; a pair of domains that is not
  met keeps its phi.
- Negative transfer to d is n_d = sum over s of max(0, -phi(d, s)). Sums with their sign would say little that (M8) does
  not: what all players add is the loss after d alone minus that after everything. The weights are
  D softmax(-n / temperature), as (M10).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from syncrec.config import TransferConfig
from syncrec.losses.next_item import NextItemLoss, Targets
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import SequentialModel
from syncrec.models.restricted import domains_before, restrict
from syncrec.nn.domains import domain_means, one_of_each
from syncrec.parallel import sum_over_processes

__all__ = ["Coalitions", "Contributions", "draw_coalitions", "marginal_contributions"]

_MOST_ANCHORS = 32


class Coalitions(NamedTuple):
    """For A targets a player and the players before it."""

    targets: Tensor  # int64 [A], ascending
    sources: Tensor  # int64 [A], the domain that joins; not that of the target
    before: Tensor  # bool [A, D], the domains that are there already, that of the target always among them


def draw_coalitions(batch: TensorBatch, num_domains: int, generator: torch.Generator) -> Coalitions:
    """Coalitions for targets of `batch` with events of another domain before them; there may be none."""
    luck = batch.rows.uniform(generator, 2)
    targets = one_of_each(batch.domains * batch.user_limit + batch.users, luck[:, 0])
    others = domains_before(batch, targets, num_domains).scatter(1, batch.domains[targets, None], False)
    usable = others.any(1).nonzero().squeeze(1)
    usable = usable[luck[targets[usable], 1].argsort()[:_MOST_ANCHORS]].sort().values
    targets, others = targets[usable], others[usable]
    places, lots = torch.rand(2, len(targets), num_domains, generator=generator).to(others.device)
    sources = lots.masked_fill(~others, -1).argmax(1)
    before = places < places.gather(1, sources[:, None])
    return Coalitions(targets, sources, before.scatter(1, batch.domains[targets, None], True))


@torch.no_grad()
def marginal_contributions(
    model: SequentialModel,
    next_item: NextItemLoss,
    batch: TensorBatch,
    coalitions: Coalitions,
    generator: torch.Generator,
) -> Tensor:
    """What each source adds: the loss of its target without it minus that with it, nats, float32 [A]."""
    targets, sources, before = coalitions
    if not len(targets):
        return torch.zeros(0, device=targets.device)
    both = torch.stack([before, before.scatter(1, sources[:, None], True)], 1)
    asked = restrict(batch, targets.repeat_interleave(2), both.flatten(0, 1))
    was_training = model.training
    (answer,) = model.eval().encode(asked).values()
    model.train(was_training)
    queries = model.query_vectors(answer).view(len(targets), 2, -1)
    once = Targets(batch.targets[targets], batch.domains[targets], asked.domain_counts // 2)
    without, joined = next_item(queries, model.item_vectors, once, generator).unbind(1)
    return without - joined


class Contributions(nn.Module):
    """Keeps phi(d, s) as saved state and turns it into weights of the domains' losses."""

    values: Tensor  # phi, float [D, D], target domain first; 0 on the diagonal

    def __init__(self, num_domains: int, config: TransferConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("values", torch.zeros(num_domains, num_domains))

    @torch.no_grad()
    def update(self, contributions: Tensor, domains: Tensor, sources: Tensor) -> None:
        """phi(d, s) <- alpha phi(d, s) + beta (mean of the contributions of s to d), for the pairs that there are.

        Args:
            contributions: nats, float [A].
            domains, sources: int64 [A], d and s of each.
        """
        num_domains = len(self.values)
        pairs = domains * num_domains + sources
        counts = sum_over_processes(torch.bincount(pairs, minlength=num_domains**2))
        means = sum_over_processes(domain_means(contributions, pairs, counts)).view_as(self.values)
        moved = self.config.alpha * self.values + self.config.beta * means
        self.values.copy_(torch.where((counts > 0).view_as(moved), moved, self.values))

    def gaps(self) -> Tensor:
        """What all others together contribute to each domain, nats [D]: sum over s of phi(d, s)."""
        return self.values.sum(1)

    def weights(self) -> Tensor:
        """D softmax(-n / temperature), mean 1 over the domains; all 1 if the correction is off. No gradient."""
        if not self.config.correction:
            return torch.ones_like(self.values[0])
        harm = (-self.values).clamp(min=0).sum(1)
        return len(harm) * (-harm / self.config.temperature).softmax(0)
