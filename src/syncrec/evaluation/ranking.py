"""Where a target stands among its candidates, a bounded block of scores at a time.

A model comes in as a `Scorer`. The target's own score is read from the same block as those of its rivals, so that
equal scores are equal bit for bit, which two separately computed products need not be.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from typing import Protocol as TypingProtocol

import numpy as np
import numpy.typing as npt

from syncrec.data.dataset import Dataset, Queries
from syncrec.errors import SyncrecError
from syncrec.evaluation.metrics import FloatArray, IntArray

__all__ = [
    "SCORE_BLOCK_BYTES",
    "Block",
    "Scope",
    "Scorer",
    "Scores",
    "count_above",
    "count_above_among",
    "count_equal",
    "count_equal_among",
    "query_blocks",
    "score_block",
    "target_scores",
    "tie_mean_ranks",
]

SCORE_BLOCK_BYTES = 8 * 2**20
_SCORE_BYTES = 4
# A product of few rows is slow (measured: a third of the rate), so a wide catalogue gets larger blocks, up to a limit.
_WIDE_BLOCK_ROWS, _WIDE_BLOCK_FACTOR = 128, 8
_COUNTED_AT_ONCE = 2**18

Scope = Literal["domain", "all"]
Scores = npt.NDArray[np.floating[Any]]


class Scorer(TypingProtocol):
    """One answer of one model to a fixed set of queries."""

    def scores(self, queries: IntArray, item_start: int, item_stop: int) -> Scores:
        """Scores of the items `item_start..item_stop` for the queries with these numbers; higher is better.

        Args:
            queries: numbers into the query set the scorer was made for, in any order, [q].
            item_start: first item, an index through all domains as in `Dataset`.
            item_stop: one past the last item.

        Returns:
            [q, item_stop - item_start], float32; infinite values are allowed, NaN is not.
        """
        ...


@dataclass(frozen=True)
class Block:
    """Queries that share a candidate range: their numbers [q], and the range of item indices."""

    queries: IntArray
    item_start: int
    item_stop: int

    def inside(self, items: IntArray) -> IntArray:
        """Those of `items` that lie in the range."""
        return items[(items >= self.item_start) & (items < self.item_stop)]


def query_blocks(queries: Queries, dataset: Dataset, scope: Scope = "domain") -> Iterator[Block]:
    """All queries in blocks whose float32 scores take at most `SCORE_BLOCK_BYTES`, but at least one query each.

    Where that would be fewer than 128 queries, a block takes up to eight times the memory.
    """
    for numbers, (start, stop) in _groups(queries, dataset, scope):
        fitting = SCORE_BLOCK_BYTES // (_SCORE_BYTES * max(1, stop - start))
        size = max(1, fitting, min(_WIDE_BLOCK_ROWS, _WIDE_BLOCK_FACTOR * fitting))
        for first in range(0, len(numbers), size):
            yield Block(numbers[first : first + size], start, stop)


def _groups(queries: Queries, dataset: Dataset, scope: Scope) -> Iterator[tuple[IntArray, tuple[int, int]]]:
    if scope == "all":
        yield np.arange(len(queries)), (0, dataset.num_items)
        return
    for domain in range(dataset.num_domains):
        yield np.flatnonzero(queries.domains == domain), dataset.item_range(domain)


def score_block(scorer: Scorer, block: Block, answer: str) -> Scores:
    """The scores of a block, checked; `answer` names the scorer in an error.

    Raises:
        SyncrecError: a score is NaN.
        ValueError: the scorer returned another shape than asked for.
    """
    scores = np.asarray(scorer.scores(block.queries, block.item_start, block.item_stop))
    expected = (len(block.queries), block.item_stop - block.item_start)
    if scores.shape != expected:
        raise ValueError(f"scorer {answer!r} returned shape {scores.shape}, expected {expected}")
    # The minimum carries NaN along and needs no second array of the block's size.
    if scores.size and np.isnan(scores.min()):
        row, column = (int(i) for i in np.argwhere(np.isnan(scores))[0])
        raise SyncrecError(
            f"answer {answer!r} scored item {block.item_start + column} of query {int(block.queries[row])} as NaN; "
            "the model's weights or inputs are not finite, train it again with a lower learning rate"
        )
    return scores


def target_scores(scores: Scores, target_columns: IntArray) -> Scores:
    """Each row's score of its target, [q], given the target's column in `scores` [q, items]."""
    own: Scores = scores[np.arange(len(scores)), target_columns]
    return own


def count_above(scores: Scores, own: Scores) -> IntArray:
    """How many scores of each row of [q, items] are strictly higher than the row's `own`, [q]."""
    return _count(np.greater, scores, own)


def count_equal(scores: Scores, own: Scores) -> IntArray:
    """How many scores of each row of [q, items] are the row's `own`, [q]."""
    return _count(np.equal, scores, own)


def count_above_among(scores: Scores, own: Scores, items: Sequence[IntArray], block: Block) -> IntArray:
    """How many of each row's `items`, all in the block's range, score strictly higher than the row's `own`, [q]."""
    return _count_among(np.greater, scores, own, items, block)


def count_equal_among(scores: Scores, own: Scores, items: Sequence[IntArray], block: Block) -> IntArray:
    """How many of each row's `items`, all in the block's range, have the row's `own` score, [q]."""
    return _count_among(np.equal, scores, own, items, block)


def tie_mean_ranks(scores: Scores, target_columns: IntArray) -> FloatArray:
    """Rank of each row's target, at least 1: `1 + higher + equal / 2`, the mean over all orders of a tie, [q].

    `higher` and `equal` count the row's other columns by their score.
    """
    own = target_scores(scores, target_columns)
    equal = count_equal(scores, own) - 1
    ranks: FloatArray = 1.0 + count_above(scores, own) + equal / 2.0
    return ranks


def _count_among(compare: np.ufunc, scores: Scores, own: Scores, items: Sequence[IntArray], block: Block) -> IntArray:
    rows = zip(scores, own, items, strict=True)
    counts = [np.count_nonzero(compare(row[chosen - block.item_start], score)) for row, score, chosen in rows]
    return np.array(counts, dtype=np.int64)


def _count(compare: np.ufunc, scores: Scores, own: Scores) -> IntArray:
    """Of each row the entries for which `compare(entry, own)` holds, [q]; some rows at once, so that they stay cached.

    Bytes are added up: `count_nonzero` by rows takes twice as long.
    """
    counts = np.empty(len(scores), dtype=np.int64)
    step = max(1, _COUNTED_AT_ONCE // max(1, scores.shape[1]))
    for first in range(0, len(scores), step):
        rows = slice(first, first + step)
        counts[rows] = compare(scores[rows], own[rows, None]).view(np.uint8).sum(axis=1, dtype=np.uint32)
    return counts
