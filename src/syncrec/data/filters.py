"""What is left out of a log, each step counted before and after.

The order of the steps:

1. `repeats`: an event whose item is that of the user's event just before it (a a b a -> a b a);
2. `k-core`: users with too few events, items with too few events, users in too few domains. Each removal can put
   another user or item below its limit, so all three are applied together until nothing changes; what remains is the
   largest log that satisfies them all;
3. `max-history`: all but a user's last n events. It comes last, so an item may end up with fewer events than the
   limit of step 2.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from syncrec.config import PrepareConfig
from syncrec.data.events import Events, tally, write_events
from syncrec.data.k_core import Limits, k_core
from syncrec.errors import DataError

__all__ = [
    "Counts",
    "FilterStep",
    "apply_filters",
    "count",
    "last_events",
    "limits_of",
    "take_steps",
    "without_repeats",
]

_Log = TypeVar("_Log")
_Filter = Callable[[Events], tuple[Events, dict[str, int]]]


@dataclass(frozen=True)
class Counts:
    """How much a log holds."""

    events: int
    users: int
    items: int

    def __str__(self) -> str:
        return ", ".join(f"{n:,} {name if n != 1 else name[:-1]}" for name, n in asdict(self).items())


@dataclass(frozen=True)
class FilterStep:
    """One filter, with its settings, counted before and after."""

    name: str
    before: Counts
    after: Counts
    details: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line for the user: the limits that ask for something, and what it did."""
        asked = {key: value for key, value in self.details.items() if key.startswith(("min_", "max_")) and value > 1}
        limits = ", ".join(f"{key} {value:,}" for key, value in asked.items())
        name = f"filter {self.name}{f' ({limits})' if limits else ''}"
        if self.after == self.before:
            return f"{name}: nothing to leave out"
        return f"{name}: {self.before} -> {self.after}"

    def content(self) -> dict[str, Any]:
        """For the manifest."""
        return {"name": self.name, **self.details, "before": asdict(self.before), "after": asdict(self.after)}


def count(events: Events) -> Counts:
    """Events, users and items of a log."""
    present = [np.count_nonzero(tally(n, int(n.max(initial=0)) + 1)) for n in (events.users, events.items)]
    return Counts(len(events), int(present[0]), int(present[1]))


def apply_filters(
    events: Events,
    domain_of_item: npt.NDArray[np.int64],
    settings: PrepareConfig,
    work: Path,
    report: Callable[[str], None],
) -> tuple[Events, list[FilterStep]]:
    """`events` (by user, in time order) without what `settings` leaves out, and the steps taken.

    Raises:
        DataError: a step leaves nothing; the text names it.
    """
    filters: dict[str, _Filter] = {
        "repeats": lambda events: (write_events(without_repeats(events), work, "no_repeats"), {}),
        "k-core": lambda events: k_core(events, domain_of_item, limits_of(settings), work),
        "max-history": lambda events: _cut_histories(events, settings, work),
    }
    return take_steps(events, count, filters, settings, report)


def take_steps(
    log: _Log,
    count: Callable[[_Log], Counts],
    filters: Mapping[str, Callable[[_Log], tuple[_Log, dict[str, int]]]],
    settings: PrepareConfig,
    report: Callable[[str], None],
) -> tuple[_Log, list[FilterStep]]:
    """`log` without what `settings` leaves out, and the steps taken, in the module's order.

    Args:
        log: of any form that `count` can count.
        count: how much a log holds.
        filters: by name, from a log to the log that is kept (the same one, if nothing is left out) and what to report.
        settings: which filters are asked for.
        report: is given a line for each step.

    Raises:
        DataError: a step leaves nothing; the text names it.
    """
    before, steps = count(log), []
    for name in _asked(settings):
        kept, details = filters[name](log)
        steps.append(FilterStep(name, before, before if kept is log else count(kept), details))
        log = kept
        report(str(steps[-1]))
        if not steps[-1].after.events:
            raise DataError(f"nothing is left by the {steps[-1]}; lower its limits")
        before = steps[-1].after
    return log, steps


def limits_of(settings: PrepareConfig) -> Limits:
    """The limits of the k-core."""
    return Limits(settings.min_user_interactions, settings.min_item_interactions, settings.min_user_domains)


def _asked(settings: PrepareConfig) -> Iterator[str]:
    if settings.drop_repeats:
        yield "repeats"
    yield "k-core"
    if settings.max_history is not None:
        yield "max-history"


def _cut_histories(events: Events, settings: PrepareConfig, work: Path) -> tuple[Events, dict[str, int]]:
    assert settings.max_history is not None
    return write_events(last_events(events, settings.max_history), work, "last"), {"max_history": settings.max_history}


def without_repeats(events: Events) -> Iterator[Events]:
    """`events`, by user, without each whose item is that of the user's event just before it."""
    for start, stop in events.spans():
        first = max(start, 1)
        chunk, previous = events[first:stop], events[first - 1 : stop - 1]
        is_repeat = (chunk.users == previous.users) & (chunk.items == previous.items)
        yield events[start:stop][np.r_[[True] * (first - start), ~is_repeat].astype(np.bool_)]


def last_events(events: Events, length: int) -> Iterator[Events]:
    """The last `length` of each user's `events`."""
    user_ends = np.cumsum(tally(events.users, int(events.users.max(initial=0)) + 1))
    for start, stop in events.spans():
        chunk = events[start:stop]
        yield chunk[user_ends[chunk.users] - np.arange(start, stop) <= length]
