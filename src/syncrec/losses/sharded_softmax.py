"""Cross entropy over catalogues whose item vectors are shared out over processes.

Every process scores the queries of all against the items that it holds, in blocks that are computed again in the
backward pass; one sum over processes makes the normaliser (Megatron-LM's parallel vocabulary, Shoeybi et al. 2019).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from syncrec.parallel import gather_rows, log_sum_over_processes

__all__ = ["sharded_log_normaliser"]

_BLOCK_ITEMS = 4096


def sharded_log_normaliser(
    queries: Tensor, items: Tensor, first_item: int, domains: Tensor, offsets: Sequence[int]
) -> Tensor:
    """log of the sum over the items x of a query's domain of e^{s_x}, float32 [N, A].

    Args:
        queries: float [N, A, dim], those of this process.
        items: vectors of the items from `first_item` on that this process holds [R, dim].
        first_item: index of the first of them.
        domains: of the queries, int64 [N].
        offsets: first item of each domain, and I [D + 1].
    """
    (everybodys, their_domains), first = gather_rows(queries.float(), domains)
    own = everybodys.new_full(everybodys.shape[:2], -torch.inf)
    for domain, (start, stop) in enumerate(pairwise(offsets)):
        here = items[max(0, start - first_item) : max(0, stop - first_item)]
        asked = (their_domains == domain).nonzero().squeeze(1)
        if len(here) and len(asked):
            own = own.index_copy(0, asked, _blocked_log_sum(everybodys[asked], here.float()))
    return log_sum_over_processes(own)[first : first + len(queries)]


def _blocked_log_sum(queries: Tensor, items: Tensor) -> Tensor:
    """Log of the sum of e^{score} over `items`, [n, A], a block of items at a time."""
    parts = [checkpoint(_log_sum, queries, block, use_reentrant=False) for block in torch.split(items, _BLOCK_ITEMS)]
    return torch.stack(parts).logsumexp(0)


def _log_sum(queries: Tensor, items: Tensor) -> Tensor:
    return (queries @ items.T).logsumexp(-1)
