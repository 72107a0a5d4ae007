"""Ranks among drawn negatives, and what the exact expectation over all draws needs."""

from collections.abc import Mapping, Sequence

import numpy as np

from syncrec.data.dataset import Dataset, Queries
from syncrec.evaluation.metrics import IntArray
from syncrec.evaluation.negatives import NegativeDraw, seen_items
from syncrec.evaluation.ranking import Block, Scorer, Scores, count_above, query_blocks, score_block, target_scores
from syncrec.evaluation.results import AnswerRanks

__all__ = ["block_negatives", "count_above_among", "sampled_ranks"]


def sampled_ranks(
    queries: Queries, dataset: Dataset, scorers: Mapping[str, Scorer], draw: NegativeDraw
) -> tuple[dict[str, AnswerRanks], IntArray]:
    """Rank of each target among its drawn negatives in each answer, and the eligible items of each query, [Q].

    A tie is won: `rank = 1 + number scored strictly higher`. The answers also carry how many of *all* eligible items
    score strictly higher. Every answer meets the same negatives.

    Raises:
        SyncrecError: a scorer returned NaN.
    """
    ranks = {name: np.empty(len(queries)) for name in scorers}
    num_above = {name: np.empty(len(queries), np.int64) for name in scorers}
    num_eligible = np.empty(len(queries), np.int64)
    for block in query_blocks(queries, dataset, draw.protocol.scope):
        seen, drawn = block_negatives(queries, dataset, block, draw)
        num_eligible[block.queries] = [block.item_stop - block.item_start - len(items) for items in seen]
        for name, scorer in scorers.items():
            scores = score_block(scorer, block, name)
            own = target_scores(scores, queries.targets[block.queries] - block.item_start)
            num_above[name][block.queries] = count_above(scores, own) - count_above_among(scores, own, seen, block)
            ranks[name][block.queries] = 1.0 + count_above_among(scores, own, drawn, block)
    return {name: AnswerRanks(ranks[name], num_above[name]) for name in scorers}, num_eligible


def block_negatives(
    queries: Queries, dataset: Dataset, block: Block, draw: NegativeDraw
) -> tuple[list[IntArray], list[IntArray]]:
    """For each query of the block the items of its range that the user has had, and the negatives drawn."""
    span = block.item_start, block.item_stop
    seen = [seen_items(dataset, int(user), *span) for user in queries.users[block.queries]]
    events = queries.target_events[block.queries]
    return seen, [draw.negatives(int(event), *span, items) for event, items in zip(events, seen, strict=True)]


def count_above_among(scores: Scores, own: Scores, items: Sequence[IntArray], block: Block) -> IntArray:
    """Of each row's `items`, how many score strictly higher than the row's target."""
    rows = zip(scores, own, items, strict=True)
    counts = [np.count_nonzero(row[chosen - block.item_start] > score) for row, score, chosen in rows]
    return np.array(counts, dtype=np.int64)
