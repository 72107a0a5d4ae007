"""Why a history gets the answer it gets: which past events matter, found by leaving each out."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from syncrec.analysis.histories import History, history_vectors
from syncrec.answers import main_answer
from syncrec.data.dataset import Dataset
from syncrec.errors import ConfigError
from syncrec.models.scoring import all_item_vectors
from syncrec.runs import TrainedModel

__all__ = ["explain_history"]

_MOST_REASONS = 3
# Below 1 % more or less nothing is worth telling.
_LEAST_EFFECT = 0.01


def explain_history(
    trained: TrainedModel, dataset: Dataset, history: History, domain: int, k: int = 10
) -> dict[str, Any]:
    """The best `k` items of `domain` in every answer and, for each, what every past event does for it.

    The effect of an event on an item is log P(item | history) - log P(item | history without the event), in nats,
    P being the softmax of the scores over the domain's items: above 0 the event speaks for the item. An event's
    `effect` is its mean over the items of the list. The last T events count; nothing older moves in for one left out.

    Returns:
        `domain`, `main` (the answer that is deployed), `history`: each event's `domain`, `item`, `time` and, of the
        main answer, `effect`; `answers[name]`: items with `rank`, `item`, `score`, and `because`, up to three events by
        their place in `history` with their `effect`.

    Raises:
        ConfigError: `k` is below 1.
    """
    if k < 1:
        raise ConfigError(f"k must be at least 1, got {k}")
    length = trained.model.config.max_length
    history = History(history.items[-length:], history.times[-length:])
    events = np.arange(len(history.items))
    variants = [history, *(history.where(events != event) for event in events)]
    vectors = history_vectors(trained, variants, np.full(len(variants), domain, dtype=np.int64))
    start, stop = dataset.item_range(domain)
    items = all_item_vectors(trained.model)[start:stop]
    found = {name: _answer(queries, items, k) for name, queries in vectors.items()}
    main = main_answer(found)
    effects = found[main][2].mean(axis=1) if len(events) else np.zeros(0)
    return {
        "domain": dataset.domains[domain],
        "main": main,
        "history": [
            {**_event(dataset, item), "time": time, "effect": effect}
            for item, time, effect in zip(history.items.tolist(), history.times.tolist(), effects.tolist(), strict=True)
        ],
        "answers": {
            name: [
                {
                    "rank": rank,
                    "item": dataset.item_id(start + int(item)),
                    "score": float(score),
                    "because": _reasons(matrix[:, rank - 1]),
                }
                for rank, (item, score) in enumerate(zip(best, scores, strict=True), start=1)
            ]
            for name, (best, scores, matrix) in found.items()
        },
    }


def _answer(queries: Tensor, items: Tensor, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best items [k] and their scores [k] after the first history; effects of the events left out in the others.

    One history at a time: the scores of all of them may not fit.

    Returns:
        items, scores, and effects [histories - 1, k].
    """
    scores, best = (items @ queries[0]).topk(min(k, len(items)))
    shares = torch.stack([_log_shares(items @ query, best) for query in queries])
    return best.cpu().numpy(), scores.cpu().numpy(), (shares[0] - shares[1:]).cpu().numpy()


def _log_shares(scores: Tensor, chosen: Tensor) -> Tensor:
    return scores[chosen] - scores.logsumexp(0)


def _event(dataset: Dataset, item: int) -> dict[str, Any]:
    domain = int(dataset.domain_of(np.asarray([item]))[0])
    return {"domain": dataset.domains[domain], "item": dataset.item_id(item)}


def _reasons(effects: np.ndarray) -> list[dict[str, Any]]:
    """The events that speak most for an item, best first."""
    order = np.argsort(-effects, kind="stable")[:_MOST_REASONS]
    return [{"event": int(event), "effect": float(effects[event])} for event in order if effects[event] > _LEAST_EFFECT]
