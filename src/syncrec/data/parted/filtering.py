"""The filters of `syncrec.data.filters`, each on every part.

A user lies in one part, so what depends on users alone is a part's own affair. Of the k-core the parts exchange, in
each round, how many events each item has left.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from syncrec.cluster.engine import Engine, attempt
from syncrec.config import PrepareConfig
from syncrec.data.events import Events, write_events
from syncrec.data.filters import FilterStep, last_events, limits_of, take_steps, without_repeats
from syncrec.data.k_core import Core, Limits, core_details, count_remaining, items_below, users_below
from syncrec.data.parted.parts import Part, PartedLog, item_totals, save_items

__all__ = ["filter_parts"]


@dataclass(frozen=True)
class StepTask:
    """Write what a filter keeps of `part` to `target`; `max_history` is that of the filter of this name."""

    part: Part
    num_items: int
    target: Path
    max_history: int = 0


@dataclass(frozen=True)
class CoreTask:
    """Count what users and items that are still in have; both None in the first round, where all are."""

    part: Part
    users: Path | None
    items: Path | None
    domain_of_item: Path
    limits: Limits
    target: Path


@dataclass(frozen=True)
class Round:
    """Events that were left in a part, the users that go out next, and where masks and counts are."""

    directory: Path
    num_events: int
    num_rare_users: int
    num_narrow_users: int


def filter_parts(
    engine: Engine, log: PartedLog, settings: PrepareConfig, work: Path, report: Callable[[str], None]
) -> tuple[PartedLog, list[FilterStep]]:
    """`log` without what `settings` leaves out, and the steps taken; `work` holds `domain_of_item.npy`.

    Raises:
        DataError: a step leaves nothing; the text names it.
    """
    length = settings.max_history or 0
    filters = {
        "repeats": lambda kept: (_take(engine, _drop_repeats, kept, work, "repeats"), {}),
        "k-core": lambda kept: _Peeling(engine, kept, limits_of(settings), work).run(),
        "max-history": lambda kept: (_take(engine, _cut, kept, work, "last", length), {"max_history": length}),
    }
    return take_steps(log, lambda kept: kept.counts, filters, settings, report)


def _take(
    engine: Engine, step: Callable[[StepTask], Part], log: PartedLog, work: Path, name: str, max_history: int = 0
) -> PartedLog:
    num_items = len(np.load(work / "domain_of_item.npy", mmap_mode="r"))
    tasks = [StepTask(part, num_items, work / f"{name}-{part.number:05d}", max_history) for part in log.parts]
    return PartedLog.of(list(engine.map(step, tasks)))


def _drop_repeats(task: StepTask) -> Part:
    return _written(task.part, without_repeats(task.part.events()), task.num_items, task.target)


def _cut(task: StepTask) -> Part:
    return _written(task.part, last_events(task.part.events(), task.max_history), task.num_items, task.target)


def _written(part: Part, chunks: Iterator[Events], num_items: int, target: Path) -> Part:
    with attempt(target) as directory:
        events = write_events(chunks, directory, "events")
        save_items(directory, events, num_items)
    num_present = int(np.count_nonzero(np.diff(events.users, prepend=-1)))
    return Part(part.number, target, "events", part.num_users, len(events), num_present)


class _Peeling:
    """The rounds of the k-core over all parts of a log."""

    def __init__(self, engine: Engine, log: PartedLog, limits: Limits, work: Path) -> None:
        self._engine, self._log, self._limits, self._work = engine, log, limits, work
        self._items: npt.NDArray[np.bool_] = np.ones(len(np.load(work / "domain_of_item.npy")), np.bool_)
        self._users: list[Path | None] = [None] * len(log.parts)
        self._rounds = 0

    def run(self) -> tuple[PartedLog, dict[str, int]]:
        """What remains, the log itself if that is all, and what to report."""
        removed = np.zeros(3, dtype=np.int64)
        while True:
            found = list(self._engine.map(_count, self._tasks("core")))
            rare = items_below(item_totals([part.directory for part in found]), self._limits)
            newly_removed = _removed(found, rare)
            if not newly_removed.any():
                break
            removed, self._rounds = removed + newly_removed, self._rounds + 1
            self._items &= ~rare
            self._users = [part.directory / "users.npy" for part in found]
        details = core_details(self._limits, self._rounds, removed)
        if sum(part.num_events for part in found) == self._log.counts.events:
            return self._log, details
        return PartedLog.of(list(self._engine.map(_keep, self._tasks("kept")))), details

    def _tasks(self, name: str) -> list[CoreTask]:
        items = self._work / f"core-items-{self._rounds}.npy"
        np.save(items, self._items)
        domains = self._work / "domain_of_item.npy"
        return [
            CoreTask(part, users, items, domains, self._limits, self._work / f"{name}-{self._rounds}-{part.number:05d}")
            for part, users in zip(self._log.parts, self._users, strict=True)
        ]


def _removed(found: Sequence[Round], rare_items: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """How many users (events), items and users (domains) go out in this round."""
    rare, narrow = sum(part.num_rare_users for part in found), sum(part.num_narrow_users for part in found)
    return np.array([rare, rare_items.sum(), narrow], dtype=np.int64)


def _core(task: CoreTask) -> Core:
    domains = np.load(task.domain_of_item, mmap_mode="r")
    users = np.ones(task.part.num_users, np.bool_) if task.users is None else np.load(task.users)
    items = np.ones(len(domains), np.bool_) if task.items is None else np.load(task.items)
    return Core(users, items, domains if task.limits.user_domains > 1 else None)


def _count(task: CoreTask) -> Round:
    core = _core(task)
    tally = count_remaining(task.part.events(), core)
    rare, narrow = users_below(tally, task.limits)
    with attempt(task.target) as directory:
        np.save(directory / "users.npy", core.users & ~(rare | narrow))
        np.save(directory / "items.npy", tally.items)
    return Round(task.target, int(tally.users.sum()), int(rare.sum()), int(narrow.sum()))


def _keep(task: CoreTask) -> Part:
    core = _core(task)
    return _written(task.part, core.remaining(task.part.events()), len(core.items), task.target)
