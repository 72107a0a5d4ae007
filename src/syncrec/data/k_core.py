"""The largest part of a log in which no user and no item has too few events, and no user too few domains."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from syncrec.data.events import Events, write_events

__all__ = ["Core", "Limits", "Tally", "core_details", "count_remaining", "items_below", "k_core", "users_below"]

_COMPACT_BELOW = 0.7


@dataclass(frozen=True)
class Limits:
    """The least that a user or item must have to stay."""

    user_interactions: int
    item_interactions: int
    user_domains: int


@dataclass
class Core:
    """Who is still in; `domain_of_item` is None where the number of domains does not matter."""

    users: npt.NDArray[np.bool_]
    items: npt.NDArray[np.bool_]
    domain_of_item: npt.NDArray[np.int64] | None

    def remaining(self, events: Events) -> Iterator[Events]:
        """The events of users and items that are still in, in chunks."""
        if self.users.all() and self.items.all():
            yield from events.chunks()
            return
        for chunk in events.chunks():
            mask = self.users[chunk.users] & self.items[chunk.items]
            yield chunk if mask.all() else chunk[mask]


@dataclass
class Tally:
    """Events of each user and item, and whether a user has an event in each domain."""

    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    has_domain: npt.NDArray[np.bool_]


def k_core(
    events: Events, domain_of_item: npt.NDArray[np.int64], limits: Limits, work: Path
) -> tuple[Events, dict[str, int]]:
    """The events that remain, in order, and what to report: limits, rounds, and what each limit removed.

    Every round counts what is left and removes all users and items below a limit. A user below both limits counts
    as removed for the interactions.
    """
    num_users = int(events.users.max(initial=0)) + 1
    by_domain = domain_of_item if limits.user_domains > 1 else None
    state = Core(np.ones(num_users, np.bool_), np.ones(len(domain_of_item), np.bool_), by_domain)
    removed, rounds = np.zeros(3, dtype=np.int64), 0
    while True:
        tally = count_remaining(events, state)
        if int(tally.users.sum()) < _COMPACT_BELOW * len(events):
            events = write_events(state.remaining(events), work, f"k_core_{rounds}")
        newly_removed = _remove(tally, limits, state)
        if not newly_removed.any():
            break
        removed, rounds = removed + newly_removed, rounds + 1
    if int(tally.users.sum()) < len(events):
        events = write_events(state.remaining(events), work, "k_core")
    return events, core_details(limits, rounds, removed)


def count_remaining(events: Events, state: Core) -> Tally:
    """What the users and items that are still in have."""
    num_domains = 0 if state.domain_of_item is None else int(state.domain_of_item.max(initial=-1)) + 1
    tally = Tally(
        np.zeros(len(state.users), dtype=np.int64),
        np.zeros(len(state.items), dtype=np.int64),
        np.zeros((len(state.users), num_domains), dtype=np.bool_),
    )
    for chunk in state.remaining(events):
        tally.users += np.bincount(chunk.users, minlength=len(tally.users))
        tally.items += np.bincount(chunk.items, minlength=len(tally.items))
        if state.domain_of_item is not None:
            tally.has_domain[chunk.users, state.domain_of_item[chunk.items]] = True
    return tally


def _remove(tally: Tally, limits: Limits, state: Core) -> npt.NDArray[np.int64]:
    """Take out who is below a limit; how many (users for events, items for events, users for domains) had events."""
    rare_user, narrow_user = users_below(tally, limits)
    rare_item = items_below(tally.items, limits)
    state.users &= ~(rare_user | narrow_user)
    state.items &= ~rare_item
    return np.array([rare_user.sum(), rare_item.sum(), narrow_user.sum()], dtype=np.int64)


def users_below(tally: Tally, limits: Limits) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which users that have events have too few of them, and which of the others are in too few domains."""
    rare = (tally.users > 0) & (tally.users < limits.user_interactions)
    if not tally.has_domain.shape[1]:
        return rare, np.zeros_like(rare)
    return rare, (tally.users > 0) & ~rare & (tally.has_domain.sum(axis=1) < limits.user_domains)


def items_below(counts: npt.NDArray[np.int64], limits: Limits) -> npt.NDArray[np.bool_]:
    """Which items that have events have too few of them; `counts` [I]."""
    below: npt.NDArray[np.bool_] = (counts > 0) & (counts < limits.item_interactions)
    return below


def core_details(limits: Limits, rounds: int, removed: npt.NDArray[np.int64]) -> dict[str, int]:
    """What the filter reports: limits, rounds, and what each limit removed (users, items, users for domains)."""
    return {
        "min_user_interactions": limits.user_interactions,
        "min_item_interactions": limits.item_interactions,
        "min_user_domains": limits.user_domains,
        "rounds": rounds,
        "users_below_interactions": int(removed[0]),
        "items_below_interactions": int(removed[1]),
        "users_below_domains": int(removed[2]),
    }
