"""From scorers to results: the one evaluation that every model goes through."""

from collections.abc import Callable, Mapping

import numpy as np

from syncrec.data.dataset import Dataset, Queries, Split
from syncrec.errors import DataError
from syncrec.evaluation.metrics import FloatArray, IntArray
from syncrec.evaluation.negatives import NegativeDraw, Rivals, past_items, rivals_of
from syncrec.evaluation.protocols import find_protocol
from syncrec.evaluation.ranking import (
    Scorer,
    count_above_among,
    count_equal_among,
    query_blocks,
    score_block,
    target_scores,
    tie_mean_ranks,
)
from syncrec.evaluation.results import AnswerRanks, EvaluationResult, Provenance
from syncrec.evaluation.sampled import sampled_ranks

__all__ = ["Ranks", "evaluate_ranks", "full_ranks", "ranks_of"]

Ranks = tuple[Mapping[str, AnswerRanks], IntArray | None]
"""Of each answer, and the eligible items of each query [Q] where negatives were drawn."""


def evaluate_ranks(
    queries: Queries,
    dataset: Dataset,
    rank: Callable[[Rivals], Ranks],
    provenance: Provenance,
    *,
    protocol: str = "full",
    split: Split = "test",
    seed: int = 0,
) -> EvaluationResult:
    """Rank the target of every query in every answer.

    Args:
        queries: the queries of `split`, or a part of them.
        dataset: the dataset they come from.
        rank: gives the ranks among what it is told (`ranks_of`).
        provenance: what is evaluated; goes into the result.
        protocol: a name in `PROTOCOLS`.
        split: names the split in the result and in the draw of negatives.
        seed: of the draw of negatives. The same seed gives every model the same negatives.

    Raises:
        UnknownNameError: there is no such protocol.
        DataError: there are no queries.
    """
    rivals = rivals_of(find_protocol(protocol), seed, split)
    if not len(queries):
        raise DataError(f"{dataset.path}: the {split} split has no queries; prepare it with longer histories")
    answers, num_eligible = rank(rivals)
    return EvaluationResult(
        provenance=provenance,
        protocol=protocol,
        split=split,
        negatives_seed=seed,
        dataset_checksum=dataset.checksum,
        domains=dataset.domains,
        users=_user_ids(queries, dataset),
        query_domains=queries.domains,
        answers=dict(answers),
        num_eligible=num_eligible,
    )


def ranks_of(queries: Queries, dataset: Dataset, scorers: Mapping[str, Scorer], rivals: Rivals) -> Ranks:
    """Ranks of each query's target in each answer.

    Raises:
        SyncrecError: a scorer returned NaN.
    """
    if isinstance(rivals, NegativeDraw):
        return sampled_ranks(queries, dataset, scorers, rivals)
    found = full_ranks(queries, dataset, scorers, keeps_seen=rivals == "all")
    return {name: AnswerRanks(ranks) for name, ranks in found.items()}, None


def full_ranks(
    queries: Queries, dataset: Dataset, scorers: Mapping[str, Scorer], *, keeps_seen: bool = True
) -> dict[str, FloatArray]:
    """The ranks of protocol `full`, or else of `full-unseen`, of each query in each answer, [Q].

    Those of `full` are what validation needs every epoch.

    Raises:
        SyncrecError: a scorer returned NaN.
    """
    ranks = {name: np.empty(len(queries)) for name in scorers}
    for block in query_blocks(queries, dataset):
        columns = queries.targets[block.queries] - block.item_start
        past = None if keeps_seen else past_items(queries, dataset, block)
        for name, scorer in scorers.items():
            scores = score_block(scorer, block, name)
            ranks[name][block.queries] = tie_mean_ranks(scores, columns)
            if past is not None:
                own = target_scores(scores, columns)
                ranks[name][block.queries] -= count_above_among(scores, own, past, block)
                ranks[name][block.queries] -= count_equal_among(scores, own, past, block) / 2.0
    return ranks


def _user_ids(queries: Queries, dataset: Dataset) -> tuple[str, ...]:
    return tuple(dataset.users[int(user)] for user in queries.users)
