"""Ranks among drawn negatives, and what the exact expectation over all draws needs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from syncrec.data.dataset import Dataset, Queries
from syncrec.evaluation.metrics import IntArray
from syncrec.evaluation.negatives import NegativeDraw, seen_items
from syncrec.evaluation.ranking import (
    Block,
    Scorer,
    Scores,
    count_above,
    count_above_among,
    query_blocks,
    score_block,
    target_scores,
)
from syncrec.evaluation.results import AnswerRanks

__all__ = ["BlockNegatives", "block_negatives", "sampled_ranks"]


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
        negatives = block_negatives(queries, dataset, block, draw)
        num_eligible[block.queries] = negatives.num_eligible
        for name, scorer in scorers.items():
            scores = score_block(scorer, block, name)
            own = target_scores(scores, queries.targets[block.queries] - block.item_start)
            among_drawn, num_above[name][block.queries] = negatives.count_above(scores, own, block)
            ranks[name][block.queries] = 1.0 + among_drawn
    return {name: AnswerRanks(ranks[name], num_above[name]) for name in scorers}, num_eligible


@dataclass(frozen=True)
class BlockNegatives:
    """For each query of a block the items of its range that the user has had, and the negatives drawn.

    `num_eligible` [q]: how many items of the whole range may be drawn.
    """

    seen: list[IntArray]
    drawn: list[IntArray]
    num_eligible: IntArray

    def count_above(self, scores: Scores, own: Scores, block: Block) -> tuple[IntArray, IntArray]:
        """How many of the drawn and of all eligible items score strictly higher than the target, [q] each.

        Args:
            scores: of the block's items, [q, items].
            own: of the targets, [q].
            block: with the same queries and items.
        """
        among_all = count_above(scores, own) - count_above_among(scores, own, self.seen, block)
        return count_above_among(scores, own, self.drawn, block), among_all

    def inside(self, part: Block) -> "BlockNegatives":
        """Those of a part of the range, for the same queries."""
        seen, drawn = ([part.inside(items) for items in lists] for lists in (self.seen, self.drawn))
        return BlockNegatives(seen, drawn, self.num_eligible)


def block_negatives(queries: Queries, dataset: Dataset, block: Block, draw: NegativeDraw) -> BlockNegatives:
    """Draw the negatives of a block's queries."""
    span = block.item_start, block.item_stop
    seen = [seen_items(dataset, int(user), *span) for user in queries.users[block.queries]]
    events = queries.target_events[block.queries]
    drawn = [draw.negatives(int(event), *span, items) for event, items in zip(events, seen, strict=True)]
    num_eligible = span[1] - span[0] - np.array([len(items) for items in seen], dtype=np.int64)
    return BlockNegatives(seen, drawn, num_eligible)
