"""What the validation split decides: the best epoch, and how the two answers of a model are fused (M13)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from syncrec.config import TrainingConfig
from syncrec.data.dataset import Dataset, Queries
from syncrec.errors import ConfigError
from syncrec.evaluation import (
    FUSION_GRID,
    Scorer,
    all_metrics,
    choose_fusion_weights,
    full_ranks,
    shared_ranks,
    summarise,
)
from syncrec.losses.full_softmax import full_softmax_loss
from syncrec.models.interface import SequentialModel
from syncrec.models.matrix_factorisation import Factors, FactorSettings, factor_scorer, fit_factors
from syncrec.models.scoring import AnswerVectors, VectorScorer, answer_vectors, fuse
from syncrec.parallel import gather_strided, processes, sharded_tables, sum_over_processes
from syncrec.training.loop import Validation

__all__ = [
    "COARSE_GRID",
    "FUSION_GRID",
    "answer_scorers",
    "best_factors",
    "check_gap_is_measurable",
    "validate",
    "validation_gaps",
]

COARSE_GRID = (0.0, 0.5, 1.0)


def answer_scorers(
    vectors: AnswerVectors, queries: Queries, fusion_weights: Sequence[float] | None
) -> dict[str, Scorer]:
    """A scorer for each answer of the model and, with weights w_d [D], for the fused one."""
    asked = dict(vectors.queries)
    if fusion_weights is not None:
        asked["fused"] = fuse(vectors.queries, fusion_weights, queries.domains)
    return {name: VectorScorer(q, vectors.items, vectors.first_item) for name, q in asked.items()}


def validate(
    model: SequentialModel,
    dataset: Dataset,
    queries: Queries,
    config: TrainingConfig,
    grid: Sequence[float] = COARSE_GRID,
    *,
    measure_gap: bool = False,
) -> Validation:
    """Full ranks of the validation queries in every answer; the fused one takes each domain's best weight of `grid`.

    Several processes share the work, and each gets all the ranks. With `measure_gap` the gaps too, for a model that
    `check_gap_is_measurable` takes.
    """
    shares_items = bool(sharded_tables(model))
    ranker = (_SharedItems if shares_items else _SharedQueries)(model, dataset, queries)
    if len(model.answer_names) == 1:
        return _validation(ranker.ranks(None), queries, dataset, config, None)
    by_weight = {weight: ranker.ranks([weight] * dataset.num_domains)["fused"] for weight in grid}
    weights = choose_fusion_weights(by_weight.__getitem__, queries.domains, dataset.num_domains, grid)
    of_query = weights[queries.domains]
    fused = sum((of_query == weight) * ranks for weight, ranks in by_weight.items())
    answers = {"cross": by_weight[0.0], "single": by_weight[1.0], "fused": np.asarray(fused)}
    found = _validation(answers, queries, dataset, config, weights.tolist())
    if not measure_gap:
        return found
    return replace(found, gaps=validation_gaps(ranker.vectors, ranker.own, model.catalogue.offsets))


def check_gap_is_measurable(model: SequentialModel) -> None:
    """See that `transfer.gap = validation` can be had of `model`.

    Raises:
        ConfigError: the model has one answer, or its item table is shared out over processes.
    """
    if len(model.answer_names) == 1 or sharded_tables(model):
        raise ConfigError("transfer.gap = validation needs a model with two answers, and model.sharded_items = false")


@torch.no_grad()
def validation_gaps(vectors: AnswerVectors, queries: Queries, offsets: Sequence[int]) -> list[float]:
    """phi(d) (M8) on validation targets: mean single loss minus mean cross loss, full softmax over the domain.

    In nats [D]; nan for a domain without targets.

    Args:
        vectors: of `queries`, in both answers, and of all items.
        queries: this process's share of them.
        offsets: first item of each domain, and I [D + 1].
    """
    order = np.argsort(queries.domains, kind="stable")
    sorted_queries, num_domains = queries.take(order), len(offsets) - 1
    domains, targets = torch.as_tensor(sorted_queries.domains), torch.as_tensor(sorted_queries.targets)
    counts = torch.bincount(domains, minlength=num_domains)
    asked = torch.stack([vectors.queries["single"], vectors.queries["cross"]], 1)
    asked = asked[torch.as_tensor(order, device=asked.device)]
    losses = full_softmax_loss(asked, vectors.items, targets.to(asked.device), counts.tolist(), offsets).cpu()
    sums = losses.new_zeros(num_domains, 2).index_add(0, domains, losses)
    single, cross = (sum_over_processes(sums) / sum_over_processes(counts)[:, None]).T
    return (single - cross).tolist()


def best_factors(dataset: Dataset, seed: int, settings: FactorSettings) -> tuple[Factors, int]:
    """BPR-MF as trained up to the epoch with the best MRR (full ranks, mean of domains), and that epoch, from 1.

    At least one validation target is needed.
    """
    queries = dataset.queries("validation")

    def value(factors: Factors) -> float:
        ranks = full_ranks(queries, dataset, {"cross": factor_scorer(factors, queries)})["cross"]
        return summarise(all_metrics(ranks), queries.domains, dataset.domains).macro["mrr"]

    return fit_factors(dataset, value, seed, settings)


class _SharedQueries:
    """Full ranks of queries that processes share out among them; alone, of all."""

    def __init__(self, model: SequentialModel, dataset: Dataset, queries: Queries) -> None:
        group = processes()
        self.dataset, self.own = dataset, queries.take(slice(group.rank, None, group.size))
        self.vectors = answer_vectors(model, dataset, self.own)

    def ranks(self, fusion_weights: Sequence[float] | None) -> dict[str, np.ndarray]:
        """Of all queries [Q], in the fused answer alone if there are weights for it."""
        scorers = _wanted_scorers(self.vectors, self.own, fusion_weights)
        ranks = full_ranks(self.own, self.dataset, scorers)
        return {name: gather_strided(torch.as_tensor(own)).numpy() for name, own in ranks.items()}


class _SharedItems:
    """Full ranks where each process holds the vectors of a part of the items, and all those of all queries."""

    def __init__(self, model: SequentialModel, dataset: Dataset, queries: Queries) -> None:
        self.dataset, self.own, self.part, group = dataset, queries, model.item_range, processes()
        # As many for each, since all take part in a look-up: some are asked twice.
        numbers = np.arange(group.rank, -(-len(queries) // group.size) * group.size, group.size) % len(queries)
        share = answer_vectors(model, dataset, queries.take(numbers))
        asked = {name: gather_strided(vectors)[: len(queries)] for name, vectors in share.queries.items()}
        self.vectors = AnswerVectors(asked, share.items, share.first_item)

    def ranks(self, fusion_weights: Sequence[float] | None) -> dict[str, np.ndarray]:
        """Of all queries [Q], in the fused answer alone if there are weights for it."""
        scorers = _wanted_scorers(self.vectors, self.own, fusion_weights)
        return shared_ranks(self.own, self.dataset, scorers, self.part, _sum_of_all)


def _wanted_scorers(
    vectors: AnswerVectors, queries: Queries, fusion_weights: Sequence[float] | None
) -> dict[str, Scorer]:
    scorers = answer_scorers(vectors, queries, fusion_weights)
    return scorers if fusion_weights is None else {"fused": scorers["fused"]}


def _sum_of_all(values: np.ndarray) -> np.ndarray:
    return sum_over_processes(torch.as_tensor(values)).numpy()


def _validation(
    ranks: dict[str, np.ndarray],
    queries: Queries,
    dataset: Dataset,
    config: TrainingConfig,
    weights: list[float] | None,
) -> Validation:
    summaries = {name: summarise(all_metrics(r), queries.domains, dataset.domains) for name, r in ranks.items()}
    answer = config.monitor_answer if config.monitor_answer in summaries else next(iter(summaries))
    report = {name: {"domains": s.domains, "macro": s.macro} for name, s in summaries.items()}
    extra = {} if weights is None else {"fusion_weights": dict(zip(dataset.domains, weights, strict=True))}
    return Validation(summaries[answer].macro[config.monitor], report, extra)
