"""Ranks where every process can score a part of the items alone."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from syncrec.data.dataset import Dataset, Queries
from syncrec.evaluation.metrics import FloatArray, IntArray
from syncrec.evaluation.negatives import NegativeDraw, past_items
from syncrec.evaluation.ranking import (
    Block,
    Scope,
    Scorer,
    Scores,
    count_above,
    count_above_among,
    count_equal,
    count_equal_among,
    query_blocks,
    score_block,
)
from syncrec.evaluation.results import AnswerRanks
from syncrec.evaluation.sampled import block_negatives

__all__ = ["shared_ranks", "shared_sampled_ranks"]

Sum = Callable[[Callable[[], FloatArray]], FloatArray]


def shared_ranks(
    queries: Queries,
    dataset: Dataset,
    scorers: Mapping[str, Scorer],
    part: tuple[int, int],
    sum_of_all: Sum,
    *,
    keeps_seen: bool = True,
) -> dict[str, FloatArray]:
    """What `full_ranks` gives, the same in every process.

    The process that can score a query's target tells its score; each counts the items of its own part above it and
    equal to it; the counts are added up.

    Args:
        queries: all of them, the same in every process.
        dataset: they come from.
        scorers: of all queries, for the items of `part`.
        part: the first item of this process's part, and one past the last.
        sum_of_all: the sum over processes of the array that a function gives; if it fails in one, all are told.
        keeps_seen: whether items count that the user had before.

    Raises:
        SyncrecError: a scorer returned NaN.
    """
    ranks: dict[str, FloatArray] = {}
    for name, scorer in scorers.items():
        part_of = _Part(name, scorer, queries, dataset, part)
        own = sum_of_all(part_of.target_scores)
        above, equal = sum_of_all(partial(part_of.count, own, keeps_seen=keeps_seen))
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
    answers: dict[str, AnswerRanks] = {}
    num_eligible = np.zeros(len(queries), np.int64)
    parts = [_Part(name, scorer, queries, dataset, part, draw.protocol.scope) for name, scorer in scorers.items()]
    own = [sum_of_all(part_of.target_scores) for part_of in parts]

    def count() -> FloatArray:
        """Of each answer the drawn and the eligible items above each target [A, 2, Q]."""
        counts = np.zeros((len(parts), 2, len(queries)))
        for block, asked in _blocks(queries, dataset, part, draw.protocol.scope):
            negatives = block_negatives(queries, dataset, block, draw).inside(asked)
            num_eligible[block.queries] = negatives.num_eligible
            for part_of, limits, found in zip(parts, own, counts, strict=True):
                found[:, asked.queries] = negatives.count_above(*part_of.scores(asked, limits), asked)
        return counts

    for part_of, (among_drawn, among_all) in zip(parts, sum_of_all(count), strict=True):
        answers[part_of.name] = AnswerRanks(1.0 + among_drawn, among_all.astype(np.int64))
    return answers, num_eligible


@dataclass(frozen=True)
class _Part:
    """What one process does with one answer: the items of its `part`."""

    name: str
    scorer: Scorer
    queries: Queries
    dataset: Dataset
    part: tuple[int, int]
    scope: Scope = "domain"

    def target_scores(self) -> FloatArray:
        """The score of each query's target [Q]; 0 where it is not in this part.

        Read from the scores of the whole block, as those of its rivals are: a product of fewer rows may differ in the
        last bit.
        """
        own = np.zeros(len(self.queries))
        for _, asked in _blocks(self.queries, self.dataset, self.part, self.scope):
            rows, columns = self._own(asked)
            if len(rows):
                own[asked.queries[rows]] = score_block(self.scorer, asked, self.name)[rows, columns]
        return own

    def count(self, own: FloatArray, *, keeps_seen: bool) -> FloatArray:
        """How many items of this part score higher than each target, and how many equally [2, Q]."""
        counts = np.zeros((2, len(self.queries)))
        for _, asked in _blocks(self.queries, self.dataset, self.part, self.scope):
            scores, limits = self.scores(asked, own)
            counts[:, asked.queries] = count_above(scores, limits), count_equal(scores, limits)
            if not keeps_seen:
                past = past_items(self.queries, self.dataset, asked)
                counts[0, asked.queries] -= count_above_among(scores, limits, past, asked)
                counts[1, asked.queries] -= count_equal_among(scores, limits, past, asked)
        return counts

    def scores(self, asked: Block, own: FloatArray) -> tuple[Scores, Scores]:
        """The scores of a block [q, items], and those of its targets [q] out of the scores `own` of all [Q]."""
        scores = score_block(self.scorer, asked, self.name)
        limits = own[asked.queries].astype(scores.dtype)
        rows, columns = self._own(asked)
        scores[rows, columns] = limits[rows]  # whatever two products make of it, a target is equal to itself
        return scores, limits

    def _own(self, asked: Block) -> tuple[IntArray, IntArray]:
        """The rows of a block whose targets are in this part, and the columns of these."""
        targets = self.queries.targets[asked.queries]
        rows = np.flatnonzero((targets >= self.part[0]) & (targets < self.part[1]))
        return rows, targets[rows] - asked.item_start


def _blocks(
    queries: Queries, dataset: Dataset, part: tuple[int, int], scope: Scope = "domain"
) -> Iterator[tuple[Block, Block]]:
    """The blocks of all queries, each whole and with those of its candidates that lie in `part`, maybe none."""
    for block in query_blocks(queries, dataset, scope):
        start, stop = (min(max(end, part[0]), part[1]) for end in (block.item_start, block.item_stop))
        yield block, Block(block.queries, start, stop)
