"""Is one thing there twice: users under two ids, events, items in two domains?"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl

from syncrec.data.checks.rule import Check, Rule
from syncrec.data.checks.walk import Chunk, chunks
from syncrec.data.dataset import Dataset

__all__ = [
    "RULES",
    "check_duplicate_events",
    "check_identical_histories",
    "check_item_ids",
    "check_user_ids",
]

_LEAST_EVENTS = 5
_USER_IDS = Rule(
    "user-ids",
    "warning",
    "users",
    "The ids of these users are equal but for spaces around them or for case. If they are one person, the history is "
    "torn apart, and what one id's training part holds may be the other's test target.",
    "make the ids of a person equal in the log before `prepare`",
)
_IDENTICAL_HISTORIES = Rule(
    "identical-histories",
    "warning",
    "users",
    f"These users have the same items in the same order as another user, at least {_LEAST_EVENTS} of them: copies of "
    "one user, or a script. A copy's training part holds the other's test target.",
    "keep one user of each kind in the log, or say that they are real",
)
_DUPLICATE_EVENTS = Rule(
    "duplicate-events",
    "warning",
    "events",
    "The same user, item and time are there before: most often the log was joined or exported twice. The copy of the "
    "last training event can be the test target.",
    "remove exact copies from the log; --drop-repeats removes those that follow each other",
)
_SHARED_ITEMS = Rule(
    "shared-items",
    "error",
    "item ids",
    "One item id is in two domains, but an item has one domain: the event in one tells the answer in the other.",
    "prepare the dataset again; it refuses this and says how to rename",
)
_SIMILAR_ITEM_IDS = Rule(
    "similar-item-ids",
    "warning",
    "item ids",
    "Ids in two domains are equal but for spaces around them or for case. If they are one item, the event in one "
    "domain tells the answer in the other, and the item's events are divided.",
    "give the item one id and one domain in the log, or say that they are different",
)
RULES = (_USER_IDS, _IDENTICAL_HISTORIES, _DUPLICATE_EVENTS, _SHARED_ITEMS, _SIMILAR_ITEM_IDS)


def check_user_ids(dataset: Dataset) -> Check:
    """Users whose id equals another's after trimming and case folding."""
    frame = pl.DataFrame({"key": _normalised(dataset.users)}).with_row_index("user")
    users = frame.filter(pl.col("key").is_duplicated()).sort("key", "user")["user"]
    return _USER_IDS.found(len(users), dataset.num_users, (repr(dataset.users[user]) for user in users))


def check_identical_histories(dataset: Dataset) -> Check:
    """Users with the same sequence of items as another, of those with at least five events.

    Histories are compared by 64-bit hashes: among a million users two different ones agree with chance 3e-8.
    """
    hashes, lengths = _history_hashes(dataset), np.diff(dataset.user_offsets)
    long = np.flatnonzero(lengths >= _LEAST_EVENTS)
    _, group, sizes = np.unique(hashes[long], return_inverse=True, return_counts=True)
    copies = long[sizes[group] > 1]
    twins = copies[np.argsort(hashes[copies], kind="stable")]
    examples = (f"user {dataset.users[int(user)]}" for user in twins)
    return _IDENTICAL_HISTORIES.found(len(copies), len(long), examples)


def check_duplicate_events(dataset: Dataset) -> Check:
    """Events of which an earlier one has the same user, item and time."""
    if dataset.has_no_ties:
        return _DUPLICATE_EVENTS.found(0, len(dataset.items))
    count = 0
    users: list[int] = []
    for chunk in chunks(dataset):
        again, before = chunk.repeats()
        copies = again[chunk.times[again] == chunk.times[before]]
        count += len(copies)
        users += (chunk.first + chunk.users[np.sort(copies)[:1]]).tolist()
    return _DUPLICATE_EVENTS.found(count, len(dataset.items), (f"user {dataset.users[user]}" for user in users))


def check_item_ids(dataset: Dataset) -> list[Check]:
    """Item ids in two domains: as they are, and after trimming and case folding."""
    texts = [list(table) for table in dataset.item_tables]
    numbers = np.repeat(np.arange(dataset.num_domains), [len(ids) for ids in texts])
    ids = pl.Series([text for ids in texts for text in ids], dtype=pl.String)
    exact = _in_two_domains(ids, ids, numbers)
    similar = _in_two_domains(_normalised(ids), ids, numbers)
    similar = [pair for pair in similar if len(set(pair)) > 1]
    total = len(ids)
    return [
        _SHARED_ITEMS.found(len(exact), total, (repr(pair[0]) for pair in exact)),
        _SIMILAR_ITEM_IDS.found(len(similar), total, (" and ".join(map(repr, pair)) for pair in similar)),
    ]


def _in_two_domains(keys: pl.Series, ids: pl.Series, domains: npt.NDArray[np.int64]) -> list[list[str]]:
    """The ids behind each key that is in more than one domain."""
    frame = pl.DataFrame({"key": keys, "id": ids, "domain": domains})
    spread = frame.filter(pl.col("key").is_duplicated()).group_by("key", maintain_order=True)
    return spread.agg("id", num=pl.col("domain").n_unique()).filter(pl.col("num") > 1)["id"].to_list()


def _normalised(ids: Iterable[str]) -> pl.Series:
    return pl.Series([text.strip().casefold() for text in ids], dtype=pl.String)


def _history_hashes(dataset: Dataset) -> npt.NDArray[np.uint64]:
    """A number for each user that says items, their order and how many they are, [U]."""
    return np.concatenate([_chunk_hashes(chunk) for chunk in chunks(dataset)])


def _chunk_hashes(chunk: Chunk) -> npt.NDArray[np.uint64]:
    events = chunk.items.astype(np.uint64) << np.uint64(32) | chunk.positions.astype(np.uint64)
    sums = np.zeros(len(events) + 1, dtype=np.uint64)
    np.cumsum(_mix(events), out=sums[1:])  # wraps around, and so do the differences
    ends = np.asarray(chunk.dataset.user_offsets[chunk.first : chunk.last + 1]) - chunk.span.start
    return np.diff(sums[ends])


def _mix(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): spreads whole numbers over 64 bits, one to one."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ mixed >> np.uint64(shift)) * np.uint64(factor)
    return mixed ^ mixed >> np.uint64(31)
