"""Ranks where every process can score a part of the items alone."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from syncrec.data.dataset import Dataset, Queries
from syncrec.evaluation.metrics import FloatArray, IntArray
from syncrec.evaluation.negatives import NegativeDraw
from syncrec.evaluation.ranking import (
    Block,
    Scope,
    Scorer,
    Scores,
    count_above,
    count_equal,
    query_blocks,
    score_block,
    target_scores,
)
from syncrec.evaluation.results import AnswerRanks
from syncrec.evaluation.sampled import block_negatives, count_above_among

__all__ = ["shared_ranks", "shared_sampled_ranks"]

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
    ranks: dict[str, FloatArray] = {}
    for name, scorer in scorers.items():
        own = sum_of_all(_target_scores(name, scorer, queries, dataset, part, "domain"))
        counts = np.zeros((2, len(queries)))  # above, equal
        for _, asked in _blocks(queries, dataset, part):
            scores, limits = _scores(name, scorer, queries, asked, own, part)
            counts[0, asked.queries] += count_above(scores, limits)
            counts[1, asked.queries] += count_equal(scores, limits)
        above, equal = sum_of_all(counts)
        ranks[name] = 1.0 + above + (equal - 1) / 2
    return ranks


def shared_sampled_ranks(
    queries: Queries,
    dataset: Dataset,
    scorers: Mapping[str, Scorer],
    draw: NegativeDraw,
    part: tuple[int, int],
    sum_of_all: Sum,
) -> tuple[dict[str, AnswerRanks], IntArray]:
    """What `sampled_ranks` gives, the same in every process; arguments as of `shared_ranks`.

    Every process draws the negatives of every query, and looks at those in its own part.
    """
    scope = draw.protocol.scope
    own = {name: sum_of_all(_target_scores(name, s, queries, dataset, part, scope)) for name, s in scorers.items()}
    counts = {name: np.zeros((2, len(queries))) for name in scorers}  # above: of the drawn ones, of all eligible ones
    num_eligible = np.zeros(len(queries), np.int64)
    for block, asked in _blocks(queries, dataset, part, scope):
        seen, drawn = block_negatives(queries, dataset, block, draw)
        num_eligible[block.queries] = [block.item_stop - block.item_start - len(items) for items in seen]
        seen, drawn = ([_inside(items, asked) for items in lists] for lists in (seen, drawn))
        for name, scorer in scorers.items():
            scores, limits = _scores(name, scorer, queries, asked, own[name], part)
            counts[name][0, asked.queries] += count_above_among(scores, limits, drawn, asked)
            above = count_above(scores, limits) - count_above_among(scores, limits, seen, asked)
            counts[name][1, asked.queries] += above
    found: dict[str, AnswerRanks] = {}
    for name, own_counts in counts.items():
        among_drawn, among_all = sum_of_all(own_counts)
        found[name] = AnswerRanks(1.0 + among_drawn, among_all.astype(np.int64))
    return found, num_eligible


def _target_scores(
    name: str, scorer: Scorer, queries: Queries, dataset: Dataset, part: tuple[int, int], scope: Scope
) -> FloatArray:
    """The score of each query's target [Q]; 0 where it is not in `part`."""
    own = np.zeros(len(queries))
    for _, asked in _blocks(queries, dataset, part, scope):
        targets = queries.targets[asked.queries]
        if len(rows := np.flatnonzero((targets >= part[0]) & (targets < part[1]))):
            few = Block(asked.queries[rows], asked.item_start, asked.item_stop)
            own[few.queries] = target_scores(score_block(scorer, few, name), targets[rows] - few.item_start)
    return own


def _scores(
    name: str, scorer: Scorer, queries: Queries, asked: Block, own: FloatArray, part: tuple[int, int]
) -> tuple[Scores, Scores]:
    """The scores of a block [q, items] and those of its targets [q]."""
    scores, targets = score_block(scorer, asked, name), queries.targets[asked.queries]
    limits = own[asked.queries].astype(scores.dtype)
    rows = np.flatnonzero((targets >= part[0]) & (targets < part[1]))
    # Two products may differ in the last bit, and a target is to be equal to itself.
    scores[rows, targets[rows] - asked.item_start] = limits[rows]
    return scores, limits


def _inside(items: IntArray, block: Block) -> IntArray:
    return items[(items >= block.item_start) & (items < block.item_stop)]


def _blocks(
    queries: Queries, dataset: Dataset, part: tuple[int, int], scope: Scope = "domain"
) -> Iterator[tuple[Block, Block]]:
    """The blocks of all queries, each whole and with those of its candidates that lie in `part`, maybe none."""
    for block in query_blocks(queries, dataset, scope):
        start, stop = (min(max(end, part[0]), part[1]) for end in (block.item_start, block.item_stop))
        yield block, Block(block.queries, start, stop)
