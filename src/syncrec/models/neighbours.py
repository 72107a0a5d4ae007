"""Item-kNN: what the users of an item in the history also had, without anything to train.

Similarity is the cosine of two items' users (Sarwar et al., WWW 2001); a history is all its items, the later the
heavier (as in Jannach, Ludewig, RecSys 2017, who found neighbours hard to beat). `NeighbourScorer` has the shape of
`evaluation.Scorer`.

An item that is no neighbour of the history scores 0, so many tie. Protocol `full` gives a tie its mean rank; sampled
protocols count it as won, which favours a scorer the more, the fewer scores it gives.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.data.dataset import Dataset, Queries
from syncrec.data.packing import ViewName
from syncrec.data.ranges import event_ranges

__all__ = ["DECAY", "NUM_NEIGHBOURS", "ItemNeighbours", "NeighbourScorer", "user_items"]

# A bound for the memory, not a setting of the model: a smaller one makes scores 0 that are not, and so ties. On the
# validation data of two pairs of Amazon domains 1,000 ranks as no bound does; 100 (Hidasi et al., ICLR 2016) does not.
NUM_NEIGHBOURS = 1000
# What the event before weighs, chosen by full MRR on the same validation data out of .7, .9, 1 / place and its root.
# The last event alone does better on one of the pairs, but leaves most scores at 0.
DECAY = 0.7
# Pairs of events of one user that are counted at once: some tens of megabytes.
_PAIRS_AT_ONCE = 1 << 21

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Matrix = Any  # scipy's sparse arrays have no types, and scipy is loaded when it is used


class ItemNeighbours:
    """Of every item the nearest others in every domain, and how similar they are.

    Similarity of items i and j is |U_i and U_j| / sqrt(|U_i| |U_j|), in 0..1, where U_i are the users with i among
    the events that are read, however often. An item is no neighbour of its own. Neighbours are counted for each domain
    by itself, so that those in one domain are what that domain's log alone gives. Of equally similar items at the last
    place the ones with the lower index are kept. An item without events that are read has no neighbours and is none.

    Args:
        dataset: whose events are read.
        num_neighbours: k, kept of each item and domain.
        ends: event index before which each user's events are read, int64 [U]; by default the training events are.
    """

    def __init__(self, dataset: Dataset, num_neighbours: int = NUM_NEIGHBOURS, ends: Ints | None = None) -> None:
        from scipy import sparse

        items_of = user_items(dataset, np.asarray(dataset.train_end) if ends is None else ends)
        users_of = items_of.T.tocsr()
        ranges = map(dataset.item_range, range(dataset.num_domains))
        parts = [_nearest(users_of, items_of, *item_range, num_neighbours) for item_range in ranges]
        self._all: Matrix = sparse.hstack(parts, format="csr")
        self._range, self._part = (0, dataset.num_items), self._all

    def similarities(self, item_start: int, item_stop: int) -> Matrix:
        """Similarity of each item to its neighbours in the range, sparse float32 [I, item_stop - item_start].

        The last range asked for is kept, since an evaluation asks for one domain after the other.
        """
        if self._range != (item_start, item_stop):
            self._range, self._part = (item_start, item_stop), self._all[:, item_start:item_stop]
        return self._part


class NeighbourScorer:
    """Score of an item: the sum, over the items of a query's history, of their similarity to it times `DECAY` ** place.

    The last event has place 0, the one before it place 1, and so on. The view `cross` is the whole history, `single`
    the events in the target's domain, counted by themselves. Nothing breaks a tie.
    """

    def __init__(self, dataset: Dataset, queries: Queries, neighbours: ItemNeighbours, view: ViewName) -> None:
        self._dataset, self._queries = dataset, queries
        self._neighbours, self._view = neighbours, view

    def scores(self, queries: Ints, item_start: int, item_stop: int) -> Floats:
        """Float32 [q, item_stop - item_start] for the queries with these numbers."""
        product = self._history_weights(queries) @ self._neighbours.similarities(item_start, item_stop)
        dense: Floats = product.toarray()
        return dense

    def _history_weights(self, numbers: Ints) -> Matrix:
        """What each item counts in the history of each query, sparse float32 [q, I]; an item met twice counts twice."""
        from scipy import sparse

        starts = self._queries.history_starts[numbers]
        rows, events = event_ranges(starts, self._queries.target_events[numbers])
        items = np.asarray(self._dataset.items[events])
        if self._view == "single":
            is_own = self._dataset.domain_of(items) == self._queries.domains[numbers][rows]
            rows, items = rows[is_own], items[is_own]
        stops = np.cumsum(np.bincount(rows, minlength=len(numbers)))
        weights = DECAY ** (stops[rows] - 1 - np.arange(len(rows)))
        shape = (len(numbers), self._dataset.num_items)
        return sparse.csr_array((weights.astype(np.float32), (rows, items)), shape=shape)


def user_items(dataset: Dataset, ends: Ints, chosen: Ints | None = None) -> Matrix:
    """Which items each user, or each of the users `chosen` [u], had before `ends`, event indices [U].

    Ones in a sparse float64 [U or u, I].
    """
    from scipy import sparse

    whose = slice(None) if chosen is None else chosen
    starts = np.asarray(dataset.user_offsets[:-1])[whose]
    users, events = event_ranges(starts, ends[whose])
    shape = (len(starts), dataset.num_items)
    items_of = sparse.csr_array((np.ones(len(users)), (users, dataset.items[events])), shape=shape)
    items_of.data[:] = 1.0
    return items_of


def _nearest(users_of: Matrix, items_of: Matrix, item_start: int, item_stop: int, num_neighbours: int) -> Matrix:
    """Similarities of all items to their nearest in the range, sparse float32 [I, item_stop - item_start]."""
    from scipy import sparse

    inside = items_of[:, item_start:item_stop]
    num_users = np.diff(users_of.indptr)
    num_pairs = users_of @ np.diff(inside.indptr)
    parts = []
    for first, last in _blocks(num_pairs):
        common = (users_of[first:last] @ inside).tocoo()
        rows, columns = first + common.row.astype(np.int64), item_start + common.col.astype(np.int64)
        values = (common.data / np.sqrt(num_users[rows] * num_users[columns].astype(np.float64))).astype(np.float32)
        kept = _nearest_entries(rows, columns, np.where(rows == columns, 0, values), num_neighbours)
        places = (rows[kept] - first, columns[kept] - item_start)
        parts.append(sparse.csr_array((values[kept], places), shape=(last - first, item_stop - item_start)))
    return sparse.vstack(parts, format="csr")


def _blocks(num_pairs: npt.NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Ranges of rows that together have about `_PAIRS_AT_ONCE` pairs, at least one row each."""
    cuts = np.flatnonzero(np.diff(np.cumsum(num_pairs) // _PAIRS_AT_ONCE)) + 1
    edges = [0, *map(int, cuts), len(num_pairs)]
    return pairwise(edges)


def _nearest_entries(rows: Ints, columns: Ints, values: Floats, num_neighbours: int) -> Ints:
    """Which entries of a sparse matrix are among the highest of their row and above 0."""
    order = np.lexsort((columns, -values, rows))
    ordered = rows[order]
    places = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    kept: Ints = order[(places < num_neighbours) & (values[order] > 0)]
    return kept
