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


def one_of_each(keys: Tensor, luck: Tensor) -> Tensor:
    """The index of one entry for every distinct value of `keys`, int64 [N]: of those with it, the one of least luck.

    Args:
        keys: int64 [N].
        luck: [N]; where it is drawn evenly, every entry of a value is as likely as the others.

    Returns:
        int64, ascending.
    """
    shuffle = luck.argsort()
    ordered, place = torch.sort(keys[shuffle], stable=True)
    is_first = torch.ones_like(ordered, dtype=torch.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return shuffle[place[is_first]].sort().values


def info_nce(
    scores: Tensor, domains: Tensor, counts: Tensor, column_domains: Tensor | None = None, first_column: int = 0
) -> Tensor:
    """Sum over domains of the mean InfoNCE loss, in nats (van den Oord et al. 2018).

    Args:
        scores: float [S, C]; that of row i with its own partner is in column `first_column + i`, the other columns of
            its domain are its negatives.
        domains: of the rows, int64 [S].
        counts: what the sums over the rows of a domain are divided by, int64 [D].
        column_domains: of the columns, int64 [C]; None: those of the rows.
    """
    columns = domains if column_domains is None else column_domains
    same_domain = domains[:, None] == columns
    normaliser = scores.masked_fill(~same_domain, -torch.inf).logsumexp(1)
    return domain_means(normaliser - scores.diagonal(first_column), domains, counts).sum()
