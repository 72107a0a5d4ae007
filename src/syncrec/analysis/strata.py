"""Kinds of queries, and how accurate the answers are for each kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.answers import main_answer
from syncrec.data.dataset import Dataset, Queries
from syncrec.evaluation import EvaluationResult
from syncrec.stats import PairedSample, paired_bootstrap

__all__ = ["WEEKS", "Stratification", "accuracy_by_stratum", "stratifications", "weeks_after_training"]

Ints = npt.NDArray[np.int64]
_WEEK_S = 7 * 86_400
WEEKS = (2, 4, 8, 13, 26)
"""Limits of the classes of `weeks_after_training`."""
_LENGTHS = ((0, "0"), (2, "1-2"), (5, "3-5"), (10, "6-10"))
_SHARES = ((0.0, "0 %"), (0.25, "up to 25 %"), (0.5, "up to 50 %"), (0.75, "up to 75 %"), (0.999999, "under 100 %"))


@dataclass(frozen=True)
class Stratification:
    """A question about queries, the possible answers, and the answer's number for each query [Q]."""

    title: str
    labels: tuple[str, ...]
    numbers: Ints


def stratifications(dataset: Dataset, queries: Queries, ends: Ints) -> list[Stratification]:
    """Queries by earlier events in the target's domain, by popularity of the target, by share of foreign events.

    And, where the log was cut in time, by the time from the end of training to the target: how long a gain lasts.
    Popularity is the decile of the target among its domain's items, by training events: 1 holds the rarest tenth,
    10 the most popular; items with the same number of events are in the same one.

    Args:
        dataset: where the histories are.
        queries: of one split.
        ends: event index where each user's training events end, [U].
    """
    lengths = queries.target_events - queries.history_starts
    own = _own_events(dataset, queries)
    foreign = (lengths - own) / np.maximum(lengths, 1)
    ages = []
    if dataset.manifest["settings"].get("split") == "temporal":
        limits = tuple((week, f"up to {week}") for week in WEEKS)
        ages.append(_cut("weeks since training", weeks_after_training(dataset, queries, ends), limits, "later"))
    return [
        *ages,
        _cut("earlier events in the domain", own, _LENGTHS, "more"),
        Stratification(
            "popularity of the target",
            tuple(str(number) for number in range(1, 11)),
            _popularity_deciles(dataset, queries),
        ),
        _cut("share of the history from other domains", foreign, _SHARES, "100 %"),
    ]


def weeks_after_training(dataset: Dataset, queries: Queries, ends: Ints) -> npt.NDArray[np.float64]:
    """Weeks from the last training event of all users, which end at `ends` [U], to each query's target, [Q]."""
    times = np.asarray(dataset.timestamps)
    trained = ends[ends > np.asarray(dataset.user_offsets)[:-1]] - 1
    found: npt.NDArray[np.float64] = (times[queries.target_events] - times[trained].max()) / _WEEK_S
    return found


def _cut(title: str, values: npt.NDArray[Any], limits: tuple[tuple[float, str], ...], last: str) -> Stratification:
    """Each value in the first class whose limit it does not pass, or in the `last`."""
    numbers = np.searchsorted([limit for limit, _ in limits], values, side="left").astype(np.int64)
    return Stratification(title, (*(label for _, label in limits), last), numbers)


def _own_events(dataset: Dataset, queries: Queries) -> Ints:
    """Events of each query's history in the target's domain, [Q]."""
    items, own = np.asarray(dataset.items), np.zeros(len(queries), dtype=np.int64)
    for domain in range(dataset.num_domains):
        start, stop = dataset.item_range(domain)
        before = np.concatenate([[0], np.cumsum((items >= start) & (items < stop))])
        mask = queries.domains == domain
        own[mask] = before[queries.target_events[mask]] - before[queries.history_starts[mask]]
    return own


def _popularity_deciles(dataset: Dataset, queries: Queries) -> Ints:
    deciles = np.zeros(dataset.num_items, dtype=np.int64)
    for domain in range(dataset.num_domains):
        start, stop = dataset.item_range(domain)
        counts = np.asarray(dataset.item_counts[start:stop])
        ordered = np.sort(counts)
        middle = (np.searchsorted(ordered, counts, "left") + np.searchsorted(ordered, counts, "right")) / 2
        deciles[start:stop] = np.minimum(10 * middle / max(1, len(counts)), 9).astype(np.int64)
    return deciles[queries.targets]


def accuracy_by_stratum(
    result: EvaluationResult, found: Stratification, metric: str = "ndcg@10", seed: int = 0
) -> dict[str, Any]:
    """The metric of every answer in every stratum, over all queries and for each domain, in values for JSON.

    Returns:
        `title`, `metric`, and `rows`: `domain` (None for all queries together), `stratum`, `num_queries`, `answers`
        (means), and, where there is a single answer to compare with, `change` of the last answer relative to it.
        Strata without queries are left out.
    """
    values = {name: result.values(name)[metric] for name in result.answers}
    users = np.unique(result.users, return_inverse=True)[1]
    groups: list[tuple[str | None, npt.NDArray[np.bool_]]] = [(None, np.ones(len(users), dtype=bool))]
    groups += [(domain, result.query_domains == number) for number, domain in enumerate(result.domains)]
    rows = [row for name, mask in groups for row in _rows(values, users, found, (name, mask), seed)]
    return {"title": found.title, "metric": metric, "labels": list(found.labels), "rows": rows}


def _rows(
    values: Mapping[str, npt.NDArray[np.float64]],
    users: Ints,
    found: Stratification,
    group: tuple[str | None, npt.NDArray[np.bool_]],
    seed: int,
) -> Iterator[dict[str, Any]]:
    candidate = main_answer(values)
    for number, label in enumerate(found.labels):
        mask = group[1] & (found.numbers == number)
        if not mask.any():
            continue
        change = None
        if "single" in values and candidate != "single":
            sample = PairedSample(values[candidate][mask], values["single"][mask], clusters=users[mask])
            change = paired_bootstrap(sample, seed=seed, num_resamples=1000).relative.content()
        means = {name: float(of_answer[mask].mean()) for name, of_answer in values.items()}
        yield {
            "domain": group[0],
            "stratum": label,
            "num_queries": int(mask.sum()),
            "answers": means,
            "change": change,
        }
