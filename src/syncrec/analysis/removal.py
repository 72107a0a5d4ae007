"""The transfer matrix: how an answer changes when the events of one domain are taken out of the history.

Nothing is trained: the model that answers is the same, so this is the worth of the events at answering time. What a
domain is worth in training is another question (`syncrec report --retrain`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.analysis.effects import effect_content, with_corrected_verdicts
from syncrec.analysis.histories import History, history_of, history_vectors, select_queries
from syncrec.data.dataset import Dataset, Queries
from syncrec.evaluation import EvaluationResult, full_ranks, metric_values
from syncrec.evaluation.metrics import FloatArray
from syncrec.models.scoring import VectorScorer, all_item_vectors
from syncrec.runs import TrainedModel

__all__ = ["removal_matrices", "removal_ranks"]

Ranks = Mapping[str, FloatArray]


def removal_matrices(
    trained: TrainedModel,
    dataset: Dataset,
    queries: Queries,
    result: EvaluationResult,
    metric: str = "ndcg@10",
    seed: int = 0,
) -> dict[str, Any]:
    """The transfer matrix of every answer that reads other domains, in values for JSON.

    Args:
        trained: who answers.
        dataset: where the histories come from.
        queries: the questions of `result`, in its order.
        result: the answers to whole histories, under protocol `full`.
        metric: what is compared.
        seed: of the resampling.

    Returns:
        `metric`, `split`, `domains`, and in `answers[answer]` a list of cells, one for each target and source with
        queries: their names, `full` and `without` (means of the metric with and without the source's events),
        `relative` and `absolute` (intervals of the change by removal), `num_queries`, `num_affected` (those whose
        history holds such events), `p_value` (corrected over the cells of two different domains) and `verdict`:
        `helps` if the target gets worse without the source, `harms` if it gets better, else `neutral`.
    """
    answers = [name for name in result.answers if name != "single"]
    cells: dict[str, list[dict[str, Any]]] = {name: [] for name in answers}
    for source, name in enumerate(dataset.domains):
        affected, ranks = removal_ranks(trained, dataset, queries, source, answers)
        for answer in answers:
            without = result.answers[answer].ranks.copy()
            without[affected] = ranks[answer]
            cells[answer] += _column(result, answer, without, affected, (name, metric, seed))
    matrices = {answer: with_corrected_verdicts(column) for answer, column in cells.items()}
    return {"metric": metric, "split": result.split, "domains": list(dataset.domains), "answers": matrices}


def removal_ranks(
    trained: TrainedModel, dataset: Dataset, queries: Queries, source: int, answers: Iterable[str]
) -> tuple[npt.NDArray[np.int64], dict[str, FloatArray]]:
    """Ranks of the targets after histories without the events of domain `source`.

    The last T of the events that are left count, so that older ones move in.

    Returns:
        the numbers of the queries whose last T events hold some of `source`, [n]; for each answer their ranks [n].
    """
    found = list(_histories_without(dataset, queries, source, trained.model.config.max_length))
    affected = np.asarray([number for number, _ in found], dtype=np.int64)
    asked = select_queries(queries, affected)
    vectors = history_vectors(trained, [history for _, history in found], asked.domains)
    items = all_item_vectors(trained.model)
    return affected, full_ranks(asked, dataset, {name: VectorScorer(vectors[name], items) for name in answers})


def _histories_without(
    dataset: Dataset, queries: Queries, source: int, max_length: int
) -> Iterator[tuple[int, History]]:
    """(number of the query, its history without `source`) of the queries for which that makes a difference."""
    start, stop = dataset.item_range(source)
    spans = zip(queries.history_starts.tolist(), queries.target_events.tolist(), strict=True)
    for number, span in enumerate(spans):
        history = history_of(dataset, *span)
        is_other = (history.items < start) | (history.items >= stop)
        if not is_other[-max_length:].all():
            yield number, history.where(is_other)


def _column(
    result: EvaluationResult,
    answer: str,
    without: FloatArray,
    affected: npt.NDArray[np.int64],
    about: tuple[str, str, int],
) -> Iterator[dict[str, Any]]:
    """A cell for each target domain with queries; `about` is source, metric and seed of the resampling."""
    source, metric, seed = about
    values = metric_values(metric, without), metric_values(metric, result.answers[answer].ranks)
    users = np.unique(result.users, return_inverse=True)[1]
    num_pairs = len(result.domains) * (len(result.domains) - 1)
    is_affected = np.isin(np.arange(len(users)), affected)
    for number in np.unique(result.query_domains):
        mask = result.query_domains == number
        yield {
            "target": result.domains[number],
            "source": source,
            "num_affected": int(is_affected[mask].sum()),
            **effect_content(values[0][mask], values[1][mask], users[mask], seed=seed, num_tests=num_pairs),
        }
