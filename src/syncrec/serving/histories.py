"""What a served run knows of a user: the history in its dataset, and what the store has seen since."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from syncrec.data.dataset import Dataset
from syncrec.serving.questions import Past
from syncrec.serving.store.schema import HistoryEvent

__all__ = ["CatalogueIndex", "UserHistory", "explicit_history", "merged_entries", "merged_history"]

Ints = npt.NDArray[np.int64]


class CatalogueIndex:
    """Item indices by (domain, id), in memory: a request looks up each item of its history."""

    def __init__(self, dataset: Dataset) -> None:
        self.ids: list[list[str]] = [list(table) for table in dataset.item_tables]
        self.number_of: Mapping[str, int] = {name: number for number, name in enumerate(dataset.domains)}
        self._places = [{name: place for place, name in enumerate(ids)} for ids in self.ids]
        self._offsets = [int(offset) for offset in dataset.item_offsets]

    def item(self, domain: str, item: str) -> int | None:
        """The index in the dataset, None if it has no such item."""
        number = self.number_of.get(domain)
        place = None if number is None else self._places[number].get(item)
        return None if number is None or place is None else self._offsets[number] + place

    def places(self, number: int, items: Iterable[str]) -> list[int]:
        """Places inside the domain's catalogue, of those of `items` that are there."""
        known = self._places[number]
        return [known[item] for item in items if item in known]

    def domain_with(self, item: str) -> str | None:
        """A domain that has this item; None if none has."""
        return next((name for name, number in self.number_of.items() if item in self._places[number]), None)


@dataclass(frozen=True, slots=True)
class UserHistory:
    """Item indices and unix times, oldest first; how many events were of unknown items; is there anything at all."""

    items: Ints
    times: Ints
    num_unknown: int
    is_known: bool


def explicit_history(index: CatalogueIndex, history: Sequence[Past], newest: int) -> UserHistory:
    """A history as given; unknown items are left out, an event without a time gets `newest`."""
    pairs = [
        (index.item(past.domain, past.item), newest if past.timestamp is None else past.timestamp) for past in history
    ]
    known = [(item, time) for item, time in pairs if item is not None]
    return UserHistory(*_arrays(known), len(pairs) - len(known), bool(history))


def merged_history(
    index: CatalogueIndex, dataset: Dataset, user: str, stored: Sequence[HistoryEvent], limit: int
) -> UserHistory:
    """The last `limit` events of the user's history in the dataset together with `stored`, in order of time.

    An event that is in both, since the dataset was made from this store, counts once: it has the same item and time.
    At equal times the dataset's come first.
    """
    items, times = _of_dataset(dataset, user, limit, min((event.timestamp for event in stored), default=None))
    there = set(zip(items.tolist(), times.tolist(), strict=True))
    pairs = [(index.item(event.domain, event.item), event.timestamp) for event in stored]
    new = [(item, time) for item, time in pairs if item is not None and (item, time) not in there]
    unknown = sum(item is None for item, _ in pairs)
    new_items, new_times = _arrays(new)
    all_items, all_times = np.concatenate([items, new_items]), np.concatenate([times, new_times])
    order = np.argsort(all_times, kind="stable")[-limit:]
    return UserHistory(all_items[order], all_times[order], unknown, bool(len(items) or len(stored)))


def merged_entries(
    index: CatalogueIndex, dataset: Dataset, user: str, stored: Sequence[HistoryEvent], limit: int
) -> list[tuple[str, str, int, Literal["dataset", "store"], bool]]:
    """As `merged_history`, for people: domain, item, time, where it is known from, whether the run knows the item."""
    items, times = _of_dataset(dataset, user, limit, min((event.timestamp for event in stored), default=None))
    numbers = dataset.domain_of(items).tolist()
    own: list[tuple[str, str, int, Literal["dataset", "store"], bool]] = [
        (dataset.domains[number], dataset.item_id(item), time, "dataset", True)
        for number, item, time in zip(numbers, items.tolist(), times.tolist(), strict=True)
    ]
    there = {entry[:3] for entry in own}
    for event in stored:
        if (event.domain, event.item, event.timestamp) not in there:
            is_known = index.item(event.domain, event.item) is not None
            own.append((event.domain, event.item, event.timestamp, "store", is_known))
    return sorted(own, key=lambda entry: entry[2])[-limit:]


def _of_dataset(dataset: Dataset, user: str, limit: int, since: int | None) -> tuple[Ints, Ints]:
    """The last `limit` events, and more if there are more not older than `since`, among which the store's may be."""
    number = dataset.users.find(user)
    if number is None:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    first, stop = (int(offset) for offset in dataset.user_offsets[number : number + 2])
    start = max(first, stop - limit)
    if since is not None:
        start = min(start, first + int(np.searchsorted(dataset.timestamps[first:stop], since)))
    return np.asarray(dataset.items[start:stop], dtype=np.int64), np.asarray(dataset.timestamps[start:stop])


def _arrays(pairs: Sequence[tuple[int, int]]) -> tuple[Ints, Ints]:
    both = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]
