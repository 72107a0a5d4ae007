"""Rows by group: means of each, one row drawn of each, and contrasts between rows of the same one."""

import torch
from torch import Tensor

__all__ = ["domain_means", "info_nce", "one_of_each"]


def domain_means(values: Tensor, domains: Tensor, counts: Tensor) -> Tensor:
    """Mean of `values` [N, ...] over the rows of each domain, [D, ...]; 0 for a domain without rows.

    Args:
        values: float [N, ...].
        domains: int64 [N].
        counts: int64 [D], rows of each domain.
    """
    sums = values.new_zeros(len(counts), *values.shape[1:]).index_add(0, domains, values)
    return sums / counts.clamp(min=1).view(-1, *[1] * (values.dim() - 1))


def one_of_each(keys: Tensor, generator: torch.Generator) -> Tensor:
    """The index of one entry drawn for every distinct value of `keys`, int64 [N]; indices ascending.

    Args:
        keys: on any device.
        generator: on the CPU.
    """
    shuffle = torch.randperm(len(keys), generator=generator).to(keys.device)
    ordered, place = torch.sort(keys[shuffle], stable=True)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return shuffle[place[is_first]].sort().values


def info_nce(scores: Tensor, domains: Tensor, counts: Tensor) -> Tensor:
    """Sum over domains of the mean InfoNCE loss, in nats (van den Oord et al. 2018).

    Args:
        scores: float [S, S]; those of row i with its own partner are on the diagonal, the others of its domain are
            its negatives.
        domains: int64 [S].
        counts: int64 [D].
    """
    same_domain = domains[:, None] == domains
    normaliser = scores.masked_fill(~same_domain, -torch.inf).logsumexp(1)
    return domain_means(normaliser - scores.diagonal(), domains, counts).sum()
