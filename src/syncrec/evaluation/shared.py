"""Full ranks where every process can score a part of the items alone."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from syncrec.data.dataset import Dataset, Queries
from syncrec.evaluation.metrics import FloatArray
from syncrec.evaluation.ranking import (
    Block,
    Scorer,
    count_above,
    count_equal,
    query_blocks,
    score_block,
    target_scores,
)

__all__ = ["shared_ranks"]

Sum = Callable[[FloatArray], FloatArray]


def shared_ranks(
    queries: Queries, dataset: Dataset, scorers: Mapping[str, Scorer], part: tuple[int, int], sum_of_all: Sum
) -> dict[str, FloatArray]:
    """The ranks of protocol `full` of each query in each answer, [Q], the same in every process.

    The process that can score a query's target tells its score; each counts the items of its own part above it and
    equal to it; the counts are added up.

    Args:
        queries: all of them, the same in every process.
        dataset: they come from.
        scorers: of all queries, for the items of `part`.
        part: the first item of this process's part, and one past the last.
        sum_of_all: the sum of an array over processes.

    Raises:
        SyncrecError: a scorer returned NaN.
    """
    return {name: _ranks(name, scorer, queries, dataset, part, sum_of_all) for name, scorer in scorers.items()}


def _ranks(
    name: str, scorer: Scorer, queries: Queries, dataset: Dataset, part: tuple[int, int], sum_of_all: Sum
) -> FloatArray:
    is_own = (queries.targets >= part[0]) & (queries.targets < part[1])
    own = np.zeros(len(queries))
    for block in _blocks(queries, dataset, part):
        if len(rows := np.flatnonzero(is_own[block.queries])):
            asked = Block(block.queries[rows], block.item_start, block.item_stop)
            columns = queries.targets[asked.queries] - block.item_start
            own[asked.queries] = target_scores(score_block(scorer, asked, name), columns)
    own = sum_of_all(own)
    counts = np.zeros((2, len(queries)))  # above, equal
    for block in _blocks(queries, dataset, part):
        scores = score_block(scorer, block, name)
        limits = own[block.queries].astype(scores.dtype)
        rows = np.flatnonzero(is_own[block.queries])
        # Two products may differ in the last bit, and a target is to be equal to itself.
        scores[rows, queries.targets[block.queries[rows]] - block.item_start] = limits[rows]
        counts[0, block.queries] += count_above(scores, limits)
        counts[1, block.queries] += count_equal(scores, limits)
    above, equal = sum_of_all(counts)
    ranks: FloatArray = 1.0 + above + (equal - 1) / 2
    return ranks


def _blocks(queries: Queries, dataset: Dataset, part: tuple[int, int]) -> Iterator[Block]:
    """The blocks of all queries, with those of their candidates that lie in `part`; none without candidates."""
    for block in query_blocks(queries, dataset):
        start, stop = max(block.item_start, part[0]), min(block.item_stop, part[1])
        if start < stop:
            yield Block(block.queries, start, stop)
