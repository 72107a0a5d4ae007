"""From what was read to the arrays of a dataset: sorted events, numbers without gaps, split and statistics."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.config import PrepareConfig
from syncrec.data.dataset import DatasetArrays
from syncrec.data.events import CHUNK_EVENTS, Events, empty_column, tally, write_events
from syncrec.data.ingest import RawLog
from syncrec.data.ordering import sort_events
from syncrec.data.splits import Cuts, split_events
from syncrec.data.statistics import Overview, describe, domain_counts, overview
from syncrec.data.vocabulary import Vocabulary, item_ranks, user_ranks

__all__ = ["Log", "assemble", "drop_gaps", "sort_log"]

_MILLISECONDS = 1000


@dataclass(frozen=True)
class Log:
    """Events sorted by user and time, and the ids behind their numbers."""

    events: Events
    ids: Vocabulary


def sort_log(raw: RawLog, domain_order: Sequence[str], settings: PrepareConfig, work: Path) -> Log:
    """Events sorted by user, then time; users and items numbered in sorted order.

    The domains of `domain_order` come first, the others sorted after them.
    """
    ranks_of_users, users = user_ranks(raw.users)
    names, codes = _domains(raw, domain_order)
    ranks_of_items, items, domain_of_item = item_ranks(raw.item_domains, raw.items, codes)
    offsets = np.zeros(len(users) + 1, dtype=np.int64)
    offsets[ranks_of_users + np.int64(1)] = tally(raw.events.users, len(users))
    np.cumsum(offsets, out=offsets)
    shuffle_seed = settings.seed if settings.ties == "shuffle" else None
    events = sort_events(raw.events, ranks_of_users, ranks_of_items, offsets, work, shuffle_seed)
    return Log(events, Vocabulary(users, items, domain_of_item, names))


def _domains(raw: RawLog, domain_order: Sequence[str]) -> tuple[list[str], list[int]]:
    """Names of the domains that have an item, in order, and their arrival codes."""
    code_of = {name: code for code, name in enumerate(raw.domains.texts())}
    first = [name for name in dict.fromkeys(domain_order) if name in code_of]
    names = first + sorted(set(code_of) - set(first))
    return names, [code_of[name] for name in names]


def drop_gaps(log: Log, work: Path, report: Callable[[str], None]) -> Log:
    """`log` numbered anew, without the users, items and domains that have no event left."""
    user_present = tally(log.events.users, len(log.ids.users)) > 0
    item_present = tally(log.events.items, len(log.ids.items)) > 0
    domain_present = np.bincount(log.ids.domain_of_item[item_present], minlength=len(log.ids.domains)) > 0
    for name in (n for n, present in zip(log.ids.domains, domain_present, strict=True) if not present):
        report(f"note: domain {name!r} has no events left and is not in the dataset")
    if user_present.all() and item_present.all():
        return log
    user_map, item_map, domain_map = map(_places, (user_present, item_present, domain_present))
    chunks = (Events(user_map[c.users], item_map[c.items], c.times) for c in log.events.chunks())
    ids = Vocabulary(
        log.ids.users.filter(user_present),
        log.ids.items.filter(item_present),
        domain_map[log.ids.domain_of_item[item_present]].astype(np.int64),
        [name for name, present in zip(log.ids.domains, domain_present, strict=True) if present],
    )
    return Log(write_events(chunks, work, "numbered"), ids)


def _places(present: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    """For each entry how many before it are True: the new number of those that are."""
    return (np.cumsum(present) - 1).astype(np.uint32)


def assemble(log: Log, settings: PrepareConfig, work: Path) -> tuple[DatasetArrays, dict[str, Any]]:
    """The arrays of the dataset and, for its manifest, counts and statistics.

    Raises:
        DataError: too few events for the split.
    """
    offsets = np.concatenate([[0], np.cumsum(tally(log.events.users, len(log.ids.users)))])
    cuts = split_events(offsets, log.events.times, settings)
    view = overview(log.events, cuts, log.ids.domain_of_item, len(log.ids.domains))
    arrays = _arrays(log, offsets, cuts, view, work)
    content = {
        "counts": domain_counts(view, arrays.domains, arrays.items_of_domain),
        "statistics": describe(view, log.events, cuts, arrays.domains),
    }
    return arrays, content


def _arrays(log: Log, offsets: npt.NDArray[np.int64], cuts: Cuts, view: Overview, work: Path) -> DatasetArrays:
    bounds = np.searchsorted(log.ids.domain_of_item, np.arange(len(log.ids.domains) + 1)).tolist()
    ids = log.ids.items
    return DatasetArrays(
        user_offsets=offsets,
        items=log.events.items.view(np.int32),
        timestamps=_seconds(log.events.times, work),
        train_end=cuts.train_end,
        validation_end=cuts.validation_end,
        item_counts=view.item_counts,
        users=log.ids.users,
        items_of_domain=[ids[start:stop] for start, stop in itertools.pairwise(bounds)],
        domains=log.ids.domains,
    )


def _seconds(milliseconds: npt.NDArray[np.int64], work: Path) -> npt.NDArray[np.int64]:
    seconds = empty_column(work / "seconds", np.int64, len(milliseconds))
    for start in range(0, len(milliseconds), CHUNK_EVENTS):
        span = slice(start, start + CHUNK_EVENTS)
        np.floor_divide(milliseconds[span], _MILLISECONDS, out=seconds[span])
    return seconds
