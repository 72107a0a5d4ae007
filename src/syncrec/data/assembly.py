"""From what was read to the arrays of a dataset: sorted events, numbers without gaps, split and statistics."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.config import PrepareConfig
from syncrec.data.dataset import DatasetArrays
from syncrec.data.events import CHUNK_EVENTS, Events, empty_column, tally, write_events
from syncrec.data.filters import FilterStep
from syncrec.data.id_codes import IdCodes
from syncrec.data.ingest import RawIds, RawLog
from syncrec.data.ordering import sort_events
from syncrec.data.rejects import BadRow
from syncrec.data.sources import InputFile
from syncrec.data.splits import Cuts, split_events
from syncrec.data.statistics import Overview, Times, describe, domain_counts, overview, times_of
from syncrec.data.vocabulary import Vocabulary, item_ranks, user_ranks
from syncrec.errors import DataError

__all__ = [
    "Columns",
    "Log",
    "Prepared",
    "assemble",
    "assembled",
    "check_not_empty",
    "drop_gaps",
    "numbered_anew",
    "rank_ids",
    "remaining_ids",
    "seconds_of",
    "shuffle_seed",
    "sort_log",
    "user_offsets",
]

_MILLISECONDS = 1000


@dataclass(frozen=True)
class Log:
    """Events sorted by user and time, and the ids behind their numbers."""

    events: Events
    ids: Vocabulary


@dataclass(frozen=True)
class Columns:
    """The arrays of a dataset with an entry a user or an event: shapes and types as in `syncrec.data.dataset`."""

    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    seconds: npt.NDArray[np.int64]
    cuts: Cuts


@dataclass(frozen=True)
class Prepared:
    """Everything that is written of a dataset: arrays, content of the manifest, filters, and bad rows left out."""

    arrays: DatasetArrays
    content: dict[str, Any]
    steps: Sequence[FilterStep]
    rejects: Sequence[BadRow]


def check_not_empty(num_events: int, files: Sequence[InputFile]) -> None:
    """Refuse files that hold no events.

    Raises:
        DataError: `num_events` is 0.
    """
    if not num_events:
        raise DataError(f"the log holds no events: {', '.join(str(file.path) for file in files)}")


def sort_log(raw: RawLog, domain_order: Sequence[str], settings: PrepareConfig, work: Path) -> Log:
    """Events sorted by user, then time; users and items numbered in sorted order.

    The domains of `domain_order` come first, the others sorted after them.
    """
    ranks_of_users, ranks_of_items, ids = rank_ids(raw.ids, domain_order)
    offsets = user_offsets(ranks_of_users, tally(raw.events.users, len(ids.users)))
    events = sort_events(raw.events, ranks_of_users, ranks_of_items, offsets, work, shuffle_seed(settings))
    return Log(events, ids)


def shuffle_seed(settings: PrepareConfig) -> int | None:
    """The seed by which ties are shuffled, None if they stay as in the input."""
    return settings.seed if settings.ties == "shuffle" else None


def user_offsets(ranks: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where each user's events begin once users lie by rank, int64 [U+1]; `ranks` and `counts` [U] are by code."""
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    offsets[ranks + np.int64(1)] = counts
    return np.cumsum(offsets)


def rank_ids(
    ids: RawIds, domain_order: Sequence[str]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32], Vocabulary]:
    """The number of each user and of each item by arrival code, and the ids by number; domains as in `sort_log`."""
    ranks_of_users, users = user_ranks(ids.users)
    names, codes = _domains(ids.domains, domain_order)
    ranks_of_items, items, domain_of_item = item_ranks(ids.item_domains, ids.items, codes)
    return ranks_of_users, ranks_of_items, Vocabulary(users, items, domain_of_item, names)


def _domains(domains: IdCodes, domain_order: Sequence[str]) -> tuple[list[str], list[int]]:
    """Names of the domains that have an item, in order, and their arrival codes."""
    code_of = {name: code for code, name in enumerate(domains.texts())}
    first = [name for name in dict.fromkeys(domain_order) if name in code_of]
    names = first + sorted(set(code_of) - set(first))
    return names, [code_of[name] for name in names]


def drop_gaps(log: Log, work: Path, report: Callable[[str], None]) -> Log:
    """`log` numbered anew, without the users, items and domains that have no event left."""
    user_present = tally(log.events.users, len(log.ids.users)) > 0
    item_present = tally(log.events.items, len(log.ids.items)) > 0
    ids = remaining_ids(log.ids, user_present, item_present, report)
    if user_present.all() and item_present.all():
        return log
    return Log(write_events(numbered_anew(log.events, user_present, item_present), work, "numbered"), ids)


def remaining_ids(
    ids: Vocabulary,
    user_present: npt.NDArray[np.bool_],
    item_present: npt.NDArray[np.bool_],
    report: Callable[[str], None],
) -> Vocabulary:
    """`ids` without the users and items that are not present, nor domains without an item; `report` hears of those."""
    domain_present = np.bincount(ids.domain_of_item[item_present], minlength=len(ids.domains)) > 0
    for name in (n for n, present in zip(ids.domains, domain_present, strict=True) if not present):
        report(f"note: domain {name!r} has no events left and is not in the dataset")
    return Vocabulary(
        ids.users.filter(user_present),
        ids.items.filter(item_present),
        _places(domain_present)[ids.domain_of_item[item_present]].astype(np.int64),
        [name for name, present in zip(ids.domains, domain_present, strict=True) if present],
    )


def numbered_anew(
    events: Events, user_present: npt.NDArray[np.bool_], item_present: npt.NDArray[np.bool_]
) -> Iterator[Events]:
    """`events`, in chunks, with users and items numbered among those that are present."""
    user_map, item_map = _places(user_present), _places(item_present)
    return (Events(user_map[c.users], item_map[c.items], c.times) for c in events.chunks())


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
    seconds = seconds_of(log.events.times, work)
    columns = Columns(offsets, log.events.items.view(np.int32), seconds, cuts)
    return assembled(columns, log.ids, view, times_of(log.events))


def assembled(columns: Columns, ids: Vocabulary, view: Overview, times: Times) -> tuple[DatasetArrays, dict[str, Any]]:
    """What `assemble` gives, from columns and counts."""
    bounds = np.searchsorted(ids.domain_of_item, np.arange(len(ids.domains) + 1)).tolist()
    arrays = DatasetArrays(
        user_offsets=columns.offsets,
        items=columns.items,
        timestamps=columns.seconds,
        train_end=columns.cuts.train_end,
        validation_end=columns.cuts.validation_end,
        item_counts=view.item_counts,
        users=ids.users,
        items_of_domain=[ids.items[start:stop] for start, stop in itertools.pairwise(bounds)],
        domains=ids.domains,
    )
    content = {
        "counts": domain_counts(view, arrays.domains, arrays.items_of_domain),
        "statistics": describe(view, times, columns.cuts, ids.domain_of_item, arrays.domains),
    }
    return arrays, content


def seconds_of(milliseconds: npt.NDArray[np.int64], work: Path) -> npt.NDArray[np.int64]:
    """Whole seconds, rounded down, in a column of the directory `work`."""
    seconds = empty_column(work / "seconds", np.int64, len(milliseconds))
    for start in range(0, len(milliseconds), CHUNK_EVENTS):
        span = slice(start, start + CHUNK_EVENTS)
        np.floor_divide(milliseconds[span], _MILLISECONDS, out=seconds[span])
    return seconds
