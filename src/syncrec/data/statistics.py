"""What a prepared dataset looks like in numbers, for its manifest."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.data.events import NUM_THREADS, Events
from syncrec.data.splits import Cuts

__all__ = [
    "Overview",
    "Times",
    "describe",
    "domain_counts",
    "length_summary",
    "merged_overviews",
    "merged_times",
    "overview",
    "times_of",
]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SPAN = 1 << 20
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Overview:
    """Counts from which everything else follows (U users, D domains, I items).

    `user_events` int32 [U, D]: events of a user in a domain; `part_events` int64 [D, 3]: training, validation and
    test events of a domain; `item_counts` and `item_targets` int64 [I]: training and test events of an item.
    """

    user_events: npt.NDArray[np.int32]
    part_events: npt.NDArray[np.int64]
    item_counts: npt.NDArray[np.int64]
    item_targets: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Times:
    """Of the times of a log: the first and last (ms), and of its neighbouring events of one user how many tie (ms)."""

    events: int
    first: int
    last: int
    neighbours: int
    ties: int


def overview(events: Events, cuts: Cuts, domain_of_item: npt.NDArray[np.int64], num_domains: int) -> Overview:
    """Count `events`, which are sorted by user and split by `cuts`; one pass in chunks."""
    user_events = np.zeros((len(cuts.train_end), num_domains), dtype=np.int32)
    part_events = np.zeros((num_domains, len(_PARTS)), dtype=np.int64)
    item_counts = np.zeros(len(domain_of_item), dtype=np.int64)

    def count(span: tuple[int, int]) -> tuple[int, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        chunk = events[span[0] : span[1]]
        parts, domains = _parts(chunk.users, np.arange(*span), cuts), domain_of_item[chunk.items]
        first, last = int(chunk.users[0]), int(chunk.users[-1]) + 1
        cells = (chunk.users - np.uint32(first)).astype(np.int64) * num_domains + domains
        of_users = np.bincount(cells, minlength=(last - first) * num_domains).astype(np.int32)
        of_parts = np.bincount(domains * len(_PARTS) + parts, minlength=part_events.size)
        return first, of_users, of_parts, np.bincount(chunk.items[parts == 0], minlength=len(item_counts))

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for first, of_users, of_parts, of_items in pool.map(count, events.spans(_SPAN)):
            rows = of_users.reshape(-1, num_domains)
            user_events[first : first + len(rows)] += rows
            part_events += of_parts.reshape(part_events.shape)
            item_counts += of_items
    item_targets = np.zeros_like(item_counts)
    for span in events.spans(_SPAN):
        chunk = events[span[0] : span[1]]
        is_test = np.arange(*span) >= cuts.validation_end[chunk.users]
        item_targets += np.bincount(chunk.items[is_test], minlength=len(item_counts))
    return Overview(user_events, part_events, item_counts, item_targets)


def merged_overviews(views: Sequence[Overview]) -> Overview:
    """The overview of a log whose users, in order, are those of the parts that `views` (at least one) are of."""
    return Overview(
        np.concatenate([view.user_events for view in views]),
        sum((view.part_events for view in views[1:]), views[0].part_events),
        sum((view.item_counts for view in views[1:]), views[0].item_counts),
        sum((view.item_targets for view in views[1:]), views[0].item_targets),
    )


def _parts(users: npt.NDArray[np.uint32], places: npt.NDArray[np.int64], cuts: Cuts) -> npt.NDArray[np.int64]:
    """The part (0 training, 1 validation, 2 test) of the events of `users` at `places`."""
    return (places >= cuts.train_end[users]).astype(np.int64) + (places >= cuts.validation_end[users])


def times_of(events: Events) -> Times:
    """Counted over `events`, which are sorted by user and of which there is at least one."""
    neighbours = ties = 0
    for start, stop in events.spans():
        chunk = events[max(start - 1, 0) : stop]
        same_user = chunk.users[1:] == chunk.users[:-1]
        neighbours += int(same_user.sum())
        ties += int((same_user & (chunk.times[1:] == chunk.times[:-1])).sum())
    return Times(len(events), int(events.times.min()), int(events.times.max()), neighbours, ties)


def merged_times(parts: Sequence[Times]) -> Times:
    """Of a log whose users are those of the `parts`, of which there is at least one."""
    first, last = min(part.first for part in parts), max(part.last for part in parts)
    events, neighbours, ties = (sum(getattr(p, name) for p in parts) for name in ("events", "neighbours", "ties"))
    return Times(events, first, last, neighbours, ties)


def domain_counts(
    view: Overview, domains: Sequence[str], items_of_domain: Sequence[Collection[str]]
) -> dict[str, dict[str, int]]:
    """Events, users, items, and events of each part, for each domain."""
    counts = {}
    for number, name in enumerate(domains):
        parts = view.part_events[number]
        counts[name] = {
            "events": int(parts.sum()),
            "users": int(np.count_nonzero(view.user_events[:, number])),
            "items": len(items_of_domain[number]),
            **{f"{part}_events": int(n) for part, n in zip(_PARTS, parts, strict=True)},
        }
    return counts


def describe(
    view: Overview, times: Times, cuts: Cuts, domain_of_item: npt.NDArray[np.int64], domains: Sequence[str]
) -> dict[str, Any]:
    """The manifest's statistics; lengths in events, shares 0..1 (None where there is nothing to share), times UTC.

    `tied_timestamps` is the share of neighbouring events of one user with equal time, 0 without neighbours.
    """
    uses_domain = (view.user_events > 0).astype(np.int64)
    lengths = view.user_events.sum(axis=1)
    tests = view.part_events[:, _PARTS.index("test")]
    is_cold = view.item_counts == 0
    cold = np.bincount(domain_of_item[is_cold], weights=view.item_targets[is_cold], minlength=len(domains))
    num_domains = np.bincount(uses_domain.sum(axis=1), minlength=len(domains) + 1)
    return {
        "events": times.events,
        "users": len(lengths),
        "items": len(view.item_counts),
        "users_without_targets": int(np.sum(cuts.train_end == np.cumsum(lengths))),
        "users_by_num_domains": {str(n): int(num_domains[n]) for n in range(1, len(domains) + 1)},
        "shared_users": {"domains": list(domains), "matrix": (uses_domain.T @ uses_domain).tolist()},
        "history_lengths": {
            "all": length_summary(lengths),
            "by_domain": {d: length_summary(view.user_events[:, i]) for i, d in enumerate(domains)},
        },
        "tied_timestamps": times.ties / times.neighbours if times.neighbours else 0.0,
        "cold_test_items": {d: float(cold[i] / tests[i]) if tests[i] else None for i, d in enumerate(domains)},
        "time_range": {"first": _date(times.first), "last": _date(times.last)},
    }


def length_summary(lengths: npt.NDArray[np.integer]) -> dict[str, float]:
    """Mean, extremes and quantiles of the lengths above 0."""
    present = lengths[lengths > 0]
    quantiles = np.quantile(present, _QUANTILES)
    named = {f"q{round(q * 100):02d}": float(value) for q, value in zip(_QUANTILES, quantiles, strict=True)}
    return {"mean": float(present.mean()), "min": int(present.min()), **named, "max": int(present.max())}


def _date(milliseconds: int) -> str:
    return str(np.datetime64(milliseconds, "ms").astype("datetime64[s]"))
