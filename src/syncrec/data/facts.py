"""The facts of a prepared dataset, computed anew from its arrays: one frozen value for terminal, card and report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.data.checks.walk import chunks
from syncrec.data.dataset import Dataset
from syncrec.data.events import Events
from syncrec.data.splits import Cuts
from syncrec.data.statistics import Overview, length_summary, overview

__all__ = ["DatasetFacts", "DomainFacts", "TieFacts", "dataset_facts"]

_DAY_S = 86_400
_PARTS = 3


@dataclass(frozen=True)
class DomainFacts:
    """One domain.

    `lengths` are of the histories inside the domain: mean, min, q05 to q95, max, in events. `cold_items` have no
    training event; `cold_validation` and `cold_test` are targets with such an item. Times are ISO-8601, UTC.
    """

    name: str
    events: int
    users: int
    items: int
    train_events: int
    validation_events: int
    test_events: int
    cold_items: int
    cold_validation: int
    cold_test: int
    lengths: Mapping[str, float]
    first: str
    last: str


@dataclass(frozen=True)
class TieFacts:
    """Equal times: `tied` of `neighbours` (neighbouring events of a user), and targets tied with the event before.

    `whole_days` are events at midnight UTC: where that is all of them, times are days.
    """

    neighbours: int
    tied: int
    tied_validation: int
    tied_test: int
    whole_days: int


@dataclass(frozen=True)
class DatasetFacts:
    """A prepared dataset.

    `shared_users` [D, D] counts users with events in both domains, its diagonal those of one;
    `users_by_num_domains[n]` those with events in n + 1 domains. `users_without_targets` have training events alone.
    """

    checksum: str
    bytes: int
    split: str
    settings: Mapping[str, Any]
    events: int
    users: int
    items: int
    users_without_targets: int
    lengths: Mapping[str, float]
    first: str
    last: str
    ties: TieFacts
    domains: tuple[DomainFacts, ...]
    shared_users: tuple[tuple[int, ...], ...]
    users_by_num_domains: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class _Tally:
    """What one pass over the events gives beside `Overview`: counts by domain and part, times by domain, ties."""

    items_of_part: npt.NDArray[np.int64]  # [3, I]
    first: npt.NDArray[np.int64]  # [D]
    last: npt.NDArray[np.int64]  # [D]
    ties: TieFacts


def dataset_facts(dataset: Dataset) -> DatasetFacts:
    """The facts of `dataset`, whose arrays must fit each other (`check_shape`).

    Takes 4 bytes an event and 24 an item beside a chunk.
    """
    view, tally = _overview(dataset), _tally(dataset)
    uses_domain = (view.user_events > 0).astype(np.int64)
    lengths = np.diff(dataset.user_offsets)
    return DatasetFacts(
        checksum=dataset.checksum,
        bytes=sum(entry["bytes"] for entry in dataset.manifest["files"].values()),
        split=dataset.manifest.get("settings", {}).get("split", "unknown"),
        settings=dataset.manifest.get("settings", {}),
        events=len(dataset.items),
        users=dataset.num_users,
        items=dataset.num_items,
        users_without_targets=int(np.sum(np.asarray(dataset.train_end) == np.asarray(dataset.user_offsets)[1:])),
        lengths=_lengths(lengths),
        first=_date(tally.first.min()),
        last=_date(tally.last.max()),
        ties=tally.ties,
        domains=tuple(_domain(dataset, number, view, tally) for number in range(dataset.num_domains)),
        shared_users=tuple(map(tuple, (uses_domain.T @ uses_domain).tolist())),
        users_by_num_domains=tuple(
            np.bincount(uses_domain.sum(axis=1), minlength=dataset.num_domains + 1)[1:].tolist()
        ),
    )


def _overview(dataset: Dataset) -> Overview:
    users = np.repeat(np.arange(dataset.num_users, dtype=np.uint32), np.diff(dataset.user_offsets))
    events = Events(users, np.asarray(dataset.items).view(np.uint32), np.asarray(dataset.timestamps))
    cuts = Cuts(np.asarray(dataset.train_end), np.asarray(dataset.validation_end))
    return overview(events, cuts, dataset.domain_of(np.arange(dataset.num_items)), dataset.num_domains)


def _tally(dataset: Dataset) -> _Tally:
    items_of_part = np.zeros((_PARTS, dataset.num_items), dtype=np.int64)
    limits = np.iinfo(np.int64)
    first, last = np.full(dataset.num_domains, limits.max), np.full(dataset.num_domains, limits.min)
    neighbours, whole_days, tied = 0, 0, np.zeros(_PARTS, dtype=np.int64)
    for chunk in chunks(dataset):
        cells = chunk.parts * np.int64(dataset.num_items) + chunk.items
        items_of_part += np.bincount(cells, minlength=items_of_part.size).reshape(items_of_part.shape)
        domains, times = dataset.domain_of(chunk.items), chunk.times
        np.minimum.at(first, domains, times)
        np.maximum.at(last, domains, times)
        neighbours += int(np.count_nonzero(chunk.users[1:] == chunk.users[:-1]))
        tied += np.bincount(chunk.parts[1:][chunk.is_tied], minlength=_PARTS)
        whole_days += int(np.count_nonzero(times % _DAY_S == 0))
    if dataset.has_no_ties:
        tied[:] = 0
    ties = TieFacts(neighbours, int(tied.sum()), int(tied[1]), int(tied[2]), whole_days)
    return _Tally(items_of_part, first, last, ties)


def _domain(dataset: Dataset, number: int, view: Overview, tally: _Tally) -> DomainFacts:
    start, stop = dataset.item_range(number)
    train, validation, test = tally.items_of_part[:, start:stop]
    parts = [int(n) for n in view.part_events[number]]
    return DomainFacts(
        name=dataset.domains[number],
        events=sum(parts),
        users=int(np.count_nonzero(view.user_events[:, number])),
        items=stop - start,
        train_events=parts[0],
        validation_events=parts[1],
        test_events=parts[2],
        cold_items=int(np.count_nonzero(train == 0)),
        cold_validation=int(validation[train == 0].sum()),
        cold_test=int(test[train == 0].sum()),
        lengths=_lengths(view.user_events[:, number]),
        first=_date(tally.first[number]),
        last=_date(tally.last[number]),
    )


def _lengths(lengths: npt.NDArray[np.integer]) -> dict[str, float]:
    """Summary of the lengths above 0, empty if there are none."""
    return length_summary(lengths) if lengths.any() else {}


def _date(seconds: np.int64) -> str:
    """ISO-8601; empty for the limits of int64, which stand for no event."""
    if seconds in (np.iinfo(np.int64).min, np.iinfo(np.int64).max):
        return ""
    return str(np.datetime64(int(seconds), "s"))
