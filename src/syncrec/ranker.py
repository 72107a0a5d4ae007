"""Ranks of queries in every answer of a model, by one process or by several that share the work.

Where every process holds the whole model they share out the queries. Where each holds a part of the item table they
share out the encoding of the queries, and then each ranks all of them among its own items.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from syncrec.data.dataset import Dataset, Queries
from syncrec.evaluation import (
    AnswerRanks,
    NegativeDraw,
    Ranks,
    Rivals,
    Scorer,
    ranks_of,
    shared_ranks,
    shared_sampled_ranks,
)
from syncrec.models.interface import SequentialModel
from syncrec.models.scoring import AnswerVectors, VectorScorer, answer_vectors, fuse
from syncrec.parallel import all_at_once, gather_strided, processes, sharded_tables, sum_over_processes

__all__ = ["Ranker", "make_ranker", "shared_ranks_of"]

Number = TypeVar("Number", np.float64, np.int64)


class Ranker(ABC):
    """A model that was asked all queries; its answers can be fused and ranked as often as is wanted."""

    def __init__(self, dataset: Dataset, own: Queries, vectors: AnswerVectors) -> None:
        """`own`: the queries that this process ranks; `vectors`: of these, and of the items among which it does."""
        self.dataset, self.own, self.vectors = dataset, own, vectors

    def ranks(self, fusion_weights: Sequence[float] | None, rivals: Rivals = "all") -> Ranks:
        """Of all queries in every answer, the same in every process; with weights w_d [D] the fused one is among them.

        By default among all items of the target's domain.
        """
        return self._ranks(self._scorers(fusion_weights), rivals)

    def fused_ranks(self, fusion_weights: Sequence[float]) -> npt.NDArray[np.float64]:
        """Of all queries [Q] in the fused answer alone, among all items of the target's domain."""
        return self._ranks({"fused": self._scorers(fusion_weights)["fused"]}, "all")[0]["fused"].ranks

    def _scorers(self, fusion_weights: Sequence[float] | None) -> dict[str, Scorer]:
        asked = dict(self.vectors.queries)
        if fusion_weights is not None:
            asked["fused"] = fuse(self.vectors.queries, fusion_weights, self.own.domains)
        return {name: VectorScorer(q, self.vectors.items, self.vectors.first_item) for name, q in asked.items()}

    @abstractmethod
    def _ranks(self, scorers: dict[str, Scorer], rivals: Rivals) -> Ranks:
        """Of all queries in these answers."""


def make_ranker(model: SequentialModel, dataset: Dataset, queries: Queries) -> Ranker:
    """Ask `model` all `queries`, at least one, with all processes together; each has the same queries."""
    return (_SharedItems if sharded_tables(model) else _SharedQueries)(model, dataset, queries)


class _SharedQueries(Ranker):
    """Queries are shared out among processes; alone, one has all."""

    def __init__(self, model: SequentialModel, dataset: Dataset, queries: Queries) -> None:
        own = _share(queries)
        super().__init__(dataset, own, answer_vectors(model, dataset, own))

    def _ranks(self, scorers: dict[str, Scorer], rivals: Rivals) -> Ranks:
        return _gathered_ranks(self.own, self.dataset, scorers, rivals)


class _SharedItems(Ranker):
    """Each process holds the vectors of a part of the items, and gets those of all queries."""

    def __init__(self, model: SequentialModel, dataset: Dataset, queries: Queries) -> None:
        self.part, group = model.item_range, processes()
        # As many for each, since all take part in a look-up: some are asked twice.
        numbers = np.arange(group.rank, -(-len(queries) // group.size) * group.size, group.size) % len(queries)
        share = answer_vectors(model, dataset, queries.take(numbers))
        asked = {name: gather_strided(vectors)[: len(queries)] for name, vectors in share.queries.items()}
        super().__init__(dataset, queries, AnswerVectors(asked, share.items, share.first_item))

    def _ranks(self, scorers: dict[str, Scorer], rivals: Rivals) -> Ranks:
        if isinstance(rivals, NegativeDraw):
            return shared_sampled_ranks(self.own, self.dataset, scorers, rivals, self.part, _sum_of_all)
        keeps_seen = rivals == "all"
        found = shared_ranks(self.own, self.dataset, scorers, self.part, _sum_of_all, keeps_seen=keeps_seen)
        return {name: AnswerRanks(ranks) for name, ranks in found.items()}, None


def shared_ranks_of(
    make_scorers: Callable[[Queries], Mapping[str, Scorer]],
    dataset: Dataset,
    queries: Queries,
    rivals: Rivals,
) -> Ranks:
    """What `evaluation.ranks_of` gives, of `queries` that processes share out; each makes scorers of its own ones."""
    own = _share(queries)
    return _gathered_ranks(own, dataset, make_scorers(own), rivals)


def _share(queries: Queries) -> Queries:
    """This process's queries; alone, all."""
    group = processes()
    return queries.take(slice(group.rank, None, group.size))


def _gathered_ranks(own: Queries, dataset: Dataset, scorers: Mapping[str, Scorer], rivals: Rivals) -> Ranks:
    """Of all queries, where each process has scorers of its `own` ones."""
    answers, num_eligible = all_at_once(lambda: ranks_of(own, dataset, scorers, rivals))
    gathered = {
        name: AnswerRanks(_of_all(answer.ranks), None if answer.num_above is None else _of_all(answer.num_above))
        for name, answer in answers.items()
    }
    return gathered, None if num_eligible is None else _of_all(num_eligible)


def _of_all(own: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """The values of all queries, of which each process has its share."""
    found: npt.NDArray[Number] = gather_strided(torch.as_tensor(own)).numpy()
    return found


def _sum_of_all(make: Callable[[], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = sum_over_processes(torch.as_tensor(all_at_once(make))).numpy()
    return found
