"""What the validation split decides: the best epoch, and how the two answers of a model are fused (M13)."""

from collections.abc import Sequence

import numpy as np
import torch

from syncrec.config import TrainingConfig
from syncrec.data.dataset import Dataset, Queries
from syncrec.evaluation import FUSION_GRID, Scorer, all_metrics, choose_fusion_weights, full_ranks, summarise
from syncrec.models.interface import SequentialModel
from syncrec.models.matrix_factorisation import Factors, FactorSettings, factor_scorer, fit_factors
from syncrec.models.scoring import AnswerVectors, VectorScorer, answer_vectors, fuse
from syncrec.parallel import gather_strided, processes
from syncrec.training.loop import Validation

__all__ = ["COARSE_GRID", "FUSION_GRID", "answer_scorers", "best_factors", "validate"]

COARSE_GRID = (0.0, 0.5, 1.0)


def answer_scorers(
    vectors: AnswerVectors, queries: Queries, fusion_weights: Sequence[float] | None
) -> dict[str, Scorer]:
    """A scorer for each answer of the model and, with weights w_d [D], for the fused one."""
    scorers: dict[str, Scorer] = {name: VectorScorer(q, vectors.items) for name, q in vectors.queries.items()}
    if fusion_weights is not None:
        fused = fuse(vectors.queries, fusion_weights, queries.domains)
        scorers["fused"] = VectorScorer(fused, vectors.items)
    return scorers


def validate(
    model: SequentialModel,
    dataset: Dataset,
    queries: Queries,
    config: TrainingConfig,
    grid: Sequence[float] = COARSE_GRID,
) -> Validation:
    """Full ranks of the validation queries in every answer; the fused one takes each domain's best weight of `grid`.

    Several processes share the queries, and each gets all the ranks.
    """
    group = processes()
    own = queries.take(slice(group.rank, None, group.size))
    vectors = answer_vectors(model, dataset, own)
    if len(vectors.queries) == 1:
        ranks = full_ranks(own, dataset, answer_scorers(vectors, own, None))
        return _validation({name: _of_all(r) for name, r in ranks.items()}, queries, dataset, config, None)
    by_weight = {weight: _of_all(_fused_ranks(vectors, own, dataset, weight)) for weight in grid}
    weights = choose_fusion_weights(by_weight.__getitem__, queries.domains, dataset.num_domains, grid)
    of_query = weights[queries.domains]
    fused = sum((of_query == weight) * ranks for weight, ranks in by_weight.items())
    answers = {"cross": by_weight[0.0], "single": by_weight[1.0], "fused": np.asarray(fused)}
    return _validation(answers, queries, dataset, config, weights.tolist())


def best_factors(dataset: Dataset, seed: int, settings: FactorSettings) -> tuple[Factors, int]:
    """BPR-MF as trained up to the epoch with the best MRR (full ranks, mean of domains), and that epoch, from 1.

    At least one validation target is needed.
    """
    queries = dataset.queries("validation")

    def value(factors: Factors) -> float:
        ranks = full_ranks(queries, dataset, {"cross": factor_scorer(factors, queries)})["cross"]
        return summarise(all_metrics(ranks), queries.domains, dataset.domains).macro["mrr"]

    return fit_factors(dataset, value, seed, settings)


def _fused_ranks(vectors: AnswerVectors, queries: Queries, dataset: Dataset, weight: float) -> np.ndarray:
    scorer = answer_scorers(vectors, queries, [weight] * dataset.num_domains)["fused"]
    return full_ranks(queries, dataset, {"fused": scorer})["fused"]


def _of_all(ranks: np.ndarray) -> np.ndarray:
    """The ranks of all queries, from those of each process."""
    return gather_strided(torch.as_tensor(ranks)).numpy()


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
