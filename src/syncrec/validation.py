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
    all_metrics,
    choose_fusion_weights,
    full_ranks,
    summarise,
)
from syncrec.losses.full_softmax import full_softmax_loss
from syncrec.models.interface import SequentialModel
from syncrec.models.matrix_factorisation import Factors, FactorSettings, factor_scorer, fit_factors
from syncrec.models.registry import find_model
from syncrec.models.scoring import AnswerVectors
from syncrec.parallel import sharded_tables, sum_over_processes
from syncrec.ranker import make_ranker
from syncrec.training.loop import Validation

__all__ = [
    "COARSE_GRID",
    "FUSION_GRID",
    "best_factors",
    "check_gap_is_measurable",
    "check_table_can_be_shared",
    "validate",
    "validation_gaps",
]

COARSE_GRID = (0.0, 0.5, 1.0)


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
    ranker = make_ranker(model, dataset, queries)
    if len(model.answer_names) == 1:
        answers = {name: answer.ranks for name, answer in ranker.ranks(None)[0].items()}
        return _validation(answers, queries, dataset, config, None)
    by_weight = {weight: ranker.fused_ranks([weight] * dataset.num_domains) for weight in grid}
    weights = choose_fusion_weights(by_weight.__getitem__, queries.domains, dataset.num_domains, grid)
    weights[model.catalogue.is_alone] = grid[0]  # both answers are one there; rounding is not to choose
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


def check_table_can_be_shared(model: SequentialModel) -> None:
    """See that `model` trains where its item table is shared out over processes.

    Raises:
        ConfigError: it asks for items in some steps only, and then not in all processes.
    """
    if sharded_tables(model) and find_model(model.config.name).weighs_contributions:
        raise ConfigError(f"model.sharded_items = true cannot be had with {model.config.name} in several processes")


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
