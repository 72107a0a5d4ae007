"""Do the arrays of a dataset fit each other? Files unaltered, parts in order, times in order."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.artifacts import altered_files
from syncrec.data.checks.rule import Check, Rule
from syncrec.data.checks.walk import chunks
from syncrec.data.dataset import Dataset

__all__ = [
    "RULES",
    "check_boundaries",
    "check_checksums",
    "check_item_numbers",
    "check_split_parts",
    "check_time_order",
]

_AGAIN = "prepare the dataset again"
_LEAST_LEAVE_ONE_OUT = 3
_LONG = ("user_offsets", "timestamps", "train_end", "validation_end", "item_counts")
_CHECKSUMS = Rule(
    "checksums",
    "error",
    "files",
    "A file was altered after the dataset was made, so nothing that it says can be relied on.",
    _AGAIN,
)
_BOUNDARIES = Rule(
    "boundaries",
    "error",
    "users",
    "A user's events must be training, then validation, then test: offset <= train_end <= validation_end <= next "
    "offset. Otherwise training reads events that are test targets, or another user's.",
    _AGAIN,
)
_ITEM_NUMBERS = Rule("item-numbers", "error", "events", "An event's item is not in the catalogue.", _AGAIN)
_SPLIT_PARTS = Rule(
    "split-parts",
    "error",
    "users",
    "The parts are not those of the split in the manifest. Leave-one-out: the last event is test, the last but one "
    "validation, and a user with fewer than three events has neither. Temporal: nobody's training event is later than "
    "the first validation event, and no validation event later than the first test event.",
    _AGAIN,
)
_TIME_ORDER = Rule(
    "time-order",
    "error",
    "neighbouring events",
    "An event is earlier than the one before it in the same history, so the model would learn from the future.",
    _AGAIN + "; it sorts by time",
)
RULES = (_CHECKSUMS, _BOUNDARIES, _ITEM_NUMBERS, _SPLIT_PARTS, _TIME_ORDER)


def check_checksums(path: Path, manifest: dict[str, Any]) -> Check:
    """Files of the dataset at `path` that differ from their checksum in its manifest."""
    altered = altered_files(path, manifest)
    return _CHECKSUMS.found(len(altered), len(manifest["files"]), altered)


def check_boundaries(dataset: Dataset) -> Check:
    """Users whose parts are out of order; every user, if the arrays' lengths do not fit at all."""
    fault = _misfit(dataset)
    if fault:
        return _BOUNDARIES.found(max(1, dataset.num_users), max(1, dataset.num_users), detail=fault)
    offsets = np.asarray(dataset.user_offsets)
    edges = (offsets[:-1], np.asarray(dataset.train_end), np.asarray(dataset.validation_end), offsets[1:])
    is_wrong = np.any([low > high for low, high in pairwise(edges)], axis=0)
    return _BOUNDARIES.found(is_wrong.sum(), dataset.num_users, _user_ids(dataset, np.flatnonzero(is_wrong)))


def _misfit(dataset: Dataset) -> str:
    """What is wrong with the arrays as a whole, empty if nothing is."""
    types = {"items": np.int32, **dict.fromkeys(_LONG, np.int64)}
    for name, expected in types.items():
        array = getattr(dataset, name)
        if array.dtype != expected or array.ndim != 1:
            return f"{name} is {array.dtype} of {array.ndim} dimensions, not {np.dtype(expected)} of 1"
    if dataset.num_users < 1:
        return "there are no users"
    users, events, offsets = dataset.num_users, len(dataset.items), dataset.user_offsets
    lengths = (len(dataset.users), len(dataset.train_end), len(dataset.validation_end))
    if lengths != (users, users, users):
        return f"user ids, train_end and validation_end have {lengths} entries for {users} users"
    if len(dataset.timestamps) != events or (int(offsets[0]), int(offsets[-1])) != (0, events):
        return f"offsets {offsets[0]}..{offsets[-1]} and {len(dataset.timestamps)} times for {events} items"
    if sum(map(len, dataset.item_tables)) != dataset.num_items or len(dataset.item_counts) != dataset.num_items:
        return f"item ids or item_counts do not have {dataset.num_items} entries"
    return ""


def check_item_numbers(dataset: Dataset) -> Check:
    """Events with an item number outside the catalogue."""
    wrong = sum(
        int(np.count_nonzero((chunk.items < 0) | (chunk.items >= dataset.num_items))) for chunk in chunks(dataset)
    )
    return _ITEM_NUMBERS.found(wrong, len(dataset.items))


def check_split_parts(dataset: Dataset) -> Check:
    """Users whose parts are not those that the split would make; none where the manifest names no split."""
    split = dataset.manifest.get("settings", {}).get("split")
    if split == "leave-one-out":
        is_wrong = _not_one_out(dataset)
    elif split == "temporal":
        is_wrong = _not_temporal(dataset)
    else:
        return _SPLIT_PARTS.found(0, 0)
    detail = f"the split is {split}"
    return _SPLIT_PARTS.found(is_wrong.sum(), len(is_wrong), _user_ids(dataset, np.flatnonzero(is_wrong)), detail)


def _not_one_out(dataset: Dataset) -> npt.NDArray[np.bool_]:
    offsets = np.asarray(dataset.user_offsets)
    expected = (np.diff(offsets) >= _LEAST_LEAVE_ONE_OUT).astype(np.int64)
    ends, validation_end = np.asarray(dataset.train_end), np.asarray(dataset.validation_end)
    return (validation_end - ends != expected) | (offsets[1:] - validation_end != expected)


def _not_temporal(dataset: Dataset) -> npt.NDArray[np.bool_]:
    """Users with an event later than the first of the next part over all users."""
    firsts = [_first_time(dataset, part) for part in (1, 2)]
    is_wrong = np.zeros(dataset.num_users, dtype=np.bool_)
    for chunk in chunks(dataset):
        late = [(chunk.parts == part) & (chunk.times > first) for part, first in enumerate(firsts)]
        is_wrong[chunk.first + chunk.users[late[0] | late[1]]] = True
    return is_wrong


def _first_time(dataset: Dataset, part: int) -> int:
    limit = int(np.iinfo(np.int64).max)
    return min(int(chunk.times[chunk.parts == part].min(initial=limit)) for chunk in chunks(dataset))


def check_time_order(dataset: Dataset) -> Check:
    """Neighbouring events of a user whose times go down."""
    count = total = 0
    users: list[int] = []
    for chunk in chunks(dataset):
        same_user = chunk.users[1:] == chunk.users[:-1]
        is_down = same_user & (chunk.times[1:] < chunk.times[:-1])
        count, total = count + int(is_down.sum()), total + int(same_user.sum())
        users += (chunk.first + chunk.users[1:][is_down][:1]).tolist()
    return _TIME_ORDER.found(count, total, _user_ids(dataset, users))


def _user_ids(dataset: Dataset, users: Iterable[int]) -> Iterator[str]:
    return (f"user {dataset.users[int(user)]}" for user in users)
