"""From scorers to results: the one evaluation that every model goes through."""

from collections.abc import Mapping

import numpy as np

from syncrec.data.dataset import Dataset, Queries, Split
from syncrec.errors import DataError
from syncrec.evaluation.metrics import FloatArray
from syncrec.evaluation.negatives import NegativeDraw
from syncrec.evaluation.protocols import find_protocol
from syncrec.evaluation.ranking import Scorer, query_blocks, score_block, tie_mean_ranks
from syncrec.evaluation.results import AnswerRanks, EvaluationResult, Provenance
from syncrec.evaluation.sampled import sampled_ranks

__all__ = ["evaluate", "full_ranks"]


def evaluate(
    queries: Queries,
    dataset: Dataset,
    scorers: Mapping[str, Scorer],
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
        scorers: answer name (`cross`, `single`, `fused`, ...) -> its scorer for these queries.
        provenance: what is evaluated; goes into the result.
        protocol: a name in `PROTOCOLS`.
        split: names the split in the result and in the draw of negatives.
        seed: of the draw of negatives. The same seed gives every model the same negatives.

    Raises:
        UnknownNameError: there is no such protocol.
        DataError: there are no queries.
        SyncrecError: a scorer returned NaN.
    """
    rule = find_protocol(protocol)
    if not len(queries):
        raise DataError(f"{dataset.path}: the {split} split has no queries; prepare it with longer histories")
    num_eligible = None
    if rule.num_negatives is None:
        answers = {name: AnswerRanks(ranks) for name, ranks in full_ranks(queries, dataset, scorers).items()}
    else:
        answers, num_eligible = sampled_ranks(queries, dataset, scorers, NegativeDraw(rule, seed, split))
    return EvaluationResult(
        provenance=provenance,
        protocol=protocol,
        split=split,
        negatives_seed=seed,
        dataset_checksum=dataset.checksum,
        domains=dataset.domains,
        users=_user_ids(queries, dataset),
        query_domains=queries.domains,
        answers=answers,
        num_eligible=num_eligible,
    )


def full_ranks(queries: Queries, dataset: Dataset, scorers: Mapping[str, Scorer]) -> dict[str, FloatArray]:
    """The ranks of protocol `full` of each query in each answer, [Q]; what validation needs every epoch.

    Raises:
        SyncrecError: a scorer returned NaN.
    """
    ranks = {name: np.empty(len(queries)) for name in scorers}
    for block in query_blocks(queries, dataset):
        columns = queries.targets[block.queries] - block.item_start
        for name, scorer in scorers.items():
            ranks[name][block.queries] = tie_mean_ranks(score_block(scorer, block, name), columns)
    return ranks


def _user_ids(queries: Queries, dataset: Dataset) -> tuple[str, ...]:
    return tuple(dataset.users[int(user)] for user in queries.users)
