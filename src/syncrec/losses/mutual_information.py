"""SC-MIM: what the single view and the cross view of a user say about the same target should agree.

Source: model.md (M11); Park et al. 2024, Fig. 2 (c-6). InfoNCE (van den Oord et al. 2018) with a bilinear discriminator
for each domain; negatives are the single representations of other users in the same domain and batch, those of the
other processes that share the batch among them.
"""

import torch
from torch import Tensor, nn

from syncrec.nn.domains import info_nce, one_of_each
from syncrec.nn.grouped import grouped_matmul
from syncrec.parallel import PendingRows, processes

__all__ = ["MutualInformation", "choose_anchors"]


def choose_anchors(users: Tensor, domains: Tensor, luck: Tensor) -> Tensor:
    """One target drawn for every (user, domain) of the batch; indices ascending, so still sorted by domain.

    Args:
        users, domains: int64 [N] of each target.
        luck: drawn for each target, [N]; the least of a user and domain decides.
    """
    span = users.max() + 1 if len(users) else 0
    return one_of_each(domains * span + users, luck)


class MutualInformation(nn.Module):
    """The InfoNCE loss of each domain."""

    def __init__(self, num_domains: int, dim: int) -> None:
        super().__init__()
        self.discriminator = nn.Parameter(torch.eye(dim).repeat(num_domains, 1, 1) / dim)

    def forward(self, cross: Tensor, singles: PendingRows, counts: Tensor) -> Tensor:
        """Sum over domains of the mean InfoNCE loss, in nats; this process's share of it, if there are several.

        Anchors, one a user and domain, are sorted by domain in every process.

        Args:
            cross: float [S, dim], y_cross of this process's anchors.
            singles: y_d of the anchors of every process.
            counts: int64 [P, D], anchors of every process in each domain.
        """
        own = counts[processes().rank]
        domains, column_domains = _domains(own), torch.cat([_domains(row) for row in counts])
        scores = grouped_matmul(cross, self.discriminator, own).float() @ singles.rows().T
        return info_nce(scores, domains, counts.sum(0), column_domains, singles.first)


def _domains(counts: Tensor) -> Tensor:
    """The domain of each row, where domain d has `counts[d]` rows."""
    return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
