"""Which items come right before which, counted over the events that a model is trained on."""

import numpy as np
import numpy.typing as npt

from syncrec.data.dataset import Dataset

__all__ = ["preceding_items"]

Ints = npt.NDArray[np.int64]


def preceding_items(dataset: Dataset, ends: Ints, together: Ints, num_kept: int) -> Ints:
    """Of every item the others that most often come right before it, the most frequent first.

    Args:
        dataset: whose events are read.
        ends: event index where what is read of each user ends, int64 [U].
        together: group of each domain, int64 [D]; what comes before is looked for among events of the same group.
        num_kept: k, kept of each item; of equally frequent ones those with the lower index.

    Returns:
        item indices int64 [I, k], -1 where an item has fewer. Repeats of an item do not count.
    """
    items, users = _events(dataset, ends)
    keys = users * (int(together.max(initial=0)) + 1) + together[dataset.domain_of(items)]
    order = np.argsort(keys, kind="stable")
    items, keys = items[order], keys[order]
    is_pair = (keys[1:] == keys[:-1]) & (items[1:] != items[:-1])
    before, after = items[:-1][is_pair], items[1:][is_pair]
    pairs, counts = np.unique(after * dataset.num_items + before, return_counts=True)
    return _most_frequent(pairs, counts, dataset.num_items, num_kept)


def _events(dataset: Dataset, ends: Ints) -> tuple[Ints, Ints]:
    """Items of all users' events before `ends`, one user after another, and the user of each."""
    users = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_offsets))
    is_read = np.arange(len(users)) < np.asarray(ends)[users]
    return np.asarray(dataset.items)[is_read].astype(np.int64), users[is_read]


def _most_frequent(pairs: Ints, counts: Ints, num_items: int, num_kept: int) -> Ints:
    """The first `num_kept` partners of each item, from codes `item * num_items + partner` in ascending order."""
    out = np.full((num_items, num_kept), -1, dtype=np.int64)
    owners, partners = np.divmod(pairs, num_items)
    order = np.lexsort((partners, -counts, owners))
    owners, partners = owners[order], partners[order]
    ranks = np.arange(len(owners)) - np.searchsorted(owners, owners)
    is_kept = ranks < num_kept
    out[owners[is_kept], ranks[is_kept]] = partners[is_kept]
    return out
