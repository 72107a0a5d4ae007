"""The prepared dataset on disk, memory-mapped: what every later stage reads.

Layout of the directory (all arrays little-endian `.npy`; N events, U users, D domains, I items in all domains):

| file | type | meaning |
|---|---|---|
| `user_offsets.npy` | int64 [U+1] | events of user u are `user_offsets[u]:user_offsets[u+1]` |
| `items.npy` | int32 [N] | item index of each event, a user's events in time order |
| `timestamps.npy` | int64 [N] | unix seconds |
| `train_end.npy`, `validation_end.npy` | int64 [U] | event index where a user's training / validation part ends |
| `item_counts.npy` | int64 [I] | training events of each item (0: cold) |
| `users.*`, `items_<d>.*` | `StringTable` | ids of users and of the items of domain number d |
| `manifest.json` | | settings, domains, counts, statistics, checksum of every file; written last |

Items are numbered through all domains: domain d owns the indices `item_offsets[d]:item_offsets[d+1]`, in the order of
its string table.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from syncrec import artifacts
from syncrec.data.ranges import event_ranges
from syncrec.data.string_table import StringTable
from syncrec.errors import ArtifactError, UnknownDomainError, UnknownItemError, UnknownUserError

__all__ = ["KIND", "SCHEMA_VERSION", "Dataset", "DatasetArrays", "Queries", "Split", "write_dataset"]

KIND = "dataset"
SCHEMA_VERSION = 1
Split = Literal["validation", "test"]

_ARRAYS = ("user_offsets", "items", "timestamps", "train_end", "validation_end", "item_counts")


@dataclass(frozen=True)
class DatasetArrays:
    """What a prepared dataset consists of, before it is written; shapes and types as in the module's table."""

    user_offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.int64]
    train_end: npt.NDArray[np.int64]
    validation_end: npt.NDArray[np.int64]
    item_counts: npt.NDArray[np.int64]
    users: Collection[str]
    items_of_domain: Sequence[Collection[str]]
    domains: Sequence[str]


@dataclass(frozen=True)
class Queries:
    """Questions with a known answer: "given this history, which item of this domain comes next?".

    All arrays have one entry a query, in ascending order of (user, position). The history of a query is
    `items[history_start:target_event]`.
    """

    users: npt.NDArray[np.int64]
    target_events: npt.NDArray[np.int64]
    history_starts: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    domains: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.users)

    def take(self, chosen: slice | npt.NDArray[np.int64]) -> "Queries":
        """Some of them."""
        arrays = (self.users, self.target_events, self.history_starts, self.targets, self.domains)
        return Queries(*(array[chosen] for array in arrays))


def write_dataset(stage: Path, arrays: DatasetArrays, content: dict[str, Any]) -> None:
    """Write `arrays` into the (staged, empty) directory and then the manifest with `content` in it."""
    for name in _ARRAYS:
        np.save(stage / f"{name}.npy", getattr(arrays, name))
    StringTable.write(stage, "users", arrays.users)
    for number, ids in enumerate(arrays.items_of_domain):
        StringTable.write(stage, f"items_{number}", ids)
    offsets = np.cumsum([0, *map(len, arrays.items_of_domain)])
    domains = {"domains": list(arrays.domains), "item_offsets": [int(o) for o in offsets]}
    artifacts.write_manifest(stage, KIND, SCHEMA_VERSION, {**domains, **content})


class Dataset:
    """A prepared dataset, opened and checked; without `check_content` files are checked by size alone.

    Raises:
        ArtifactError: the directory is missing, half-written, altered or of another version.
    """

    user_offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.int64]
    train_end: npt.NDArray[np.int64]
    validation_end: npt.NDArray[np.int64]
    item_counts: npt.NDArray[np.int64]

    def __init__(self, path: str | Path, *, check_content: bool = True) -> None:
        self.path = Path(path)
        if self.path.is_file():
            raise ArtifactError(
                f"{path}: is a file, no prepared dataset; make one of it: syncrec prepare {path} --out DATASET"
            )
        self.manifest = artifacts.open_manifest(self.path, KIND, SCHEMA_VERSION, check_content=check_content)
        self.domains: tuple[str, ...] = tuple(self.manifest["domains"])
        self.item_offsets: npt.NDArray[np.int64] = np.asarray(self.manifest["item_offsets"], dtype=np.int64)
        for name in _ARRAYS:
            setattr(self, name, np.load(self.path / f"{name}.npy", mmap_mode="r"))
        self.users = StringTable.open(self.path, "users")
        self.item_tables = [StringTable.open(self.path, f"items_{d}") for d in range(len(self.domains))]

    @cached_property
    def checksum(self) -> str:
        """Identifies the dataset's content (events, ids, splits), whatever its path: SHA-256 over its files'."""
        files = self.manifest["files"]
        return hashlib.sha256("".join(files[name]["sha256"] for name in sorted(files)).encode()).hexdigest()

    @property
    def has_no_ties(self) -> bool:
        """Whether `prepare` has seen, by finer times than the seconds that are stored, that no two of a user tie."""
        return bool(self.manifest.get("statistics", {}).get("tied_timestamps") == 0.0)

    def is_other_than(self, checksum: str, domains: Sequence[str]) -> bool:
        """Whether a dataset with this checksum and these domain names, of which something was made, is not this one."""
        return (self.checksum, self.domains) != (checksum, tuple(domains))

    @property
    def num_users(self) -> int:
        """Number of users, U."""
        return len(self.user_offsets) - 1

    @property
    def num_items(self) -> int:
        """Number of items over all domains, I."""
        return int(self.item_offsets[-1])

    @property
    def num_domains(self) -> int:
        """Number of domains, D."""
        return len(self.domains)

    @property
    def max_history(self) -> int | None:
        """The `max_history` it was prepared with: a user's last n events; None means all."""
        value = self.manifest["settings"].get("max_history")
        return None if value is None else int(value)

    def domain_of(self, items: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """The domain number of each item index."""
        return np.searchsorted(self.item_offsets, items, side="right") - 1

    def item_range(self, domain: int) -> tuple[int, int]:
        """First and one past the last item index of a domain."""
        return int(self.item_offsets[domain]), int(self.item_offsets[domain + 1])

    def domain_index(self, name: str) -> int:
        """The number of the domain `name`.

        Raises:
            UnknownDomainError: with the nearest names.
        """
        if name in self.domains:
            return self.domains.index(name)
        remedy = "the domains are " + ", ".join(self.domains)
        raise UnknownDomainError("domain", name, self.domains, remedy)

    def user_index(self, name: str) -> int:
        """The number of the user `name`.

        Raises:
            UnknownUserError: with the nearest ids.
        """
        index = self.users.find(name)
        if index is None:
            remedy = "for somebody who is not in the dataset there is `syncrec recommend --history`"
            raise UnknownUserError("user", name, self.users.nearest(name), remedy)
        return index

    def item_index(self, domain: str, name: str) -> int:
        """The item index of `name` in `domain`.

        Raises:
            UnknownDomainError, UnknownItemError: with the nearest names.
        """
        number = self.domain_index(domain)
        index = self.item_tables[number].find(name)
        if index is None:
            raise UnknownItemError(f"item of {domain}", name, self.item_tables[number].nearest(name))
        return int(self.item_offsets[number]) + index

    def item_id(self, item: int) -> str:
        """The raw id of an item index."""
        number = int(self.domain_of(np.asarray([item]))[0])
        return self.item_tables[number][item - int(self.item_offsets[number])]

    def history(self, user: int) -> npt.NDArray[np.int32]:
        """All events of a user, item indices in time order."""
        return self.items[self.user_offsets[user] : self.user_offsets[user + 1]]

    def counts_before(self, ends: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Events of each item before the event index `ends[u]` of every user u, at or after the training's end, [I]."""
        _, later = event_ranges(np.asarray(self.train_end), ends)
        added = np.bincount(np.asarray(self.items)[later], minlength=self.num_items)
        return np.asarray(self.item_counts) + added

    def queries(self, split: Split) -> Queries:
        """Every event of `split` as a query whose history is all that the user did before it."""
        starts, stops = (
            (self.train_end, self.validation_end)
            if split == "validation"
            else (self.validation_end, self.user_offsets[1:])
        )
        lengths = np.asarray(stops) - np.asarray(starts)
        users = np.repeat(np.arange(self.num_users), lengths)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        events = np.asarray(starts)[users] + within
        targets = np.asarray(self.items[events], dtype=np.int64)
        return Queries(users, events, np.asarray(self.user_offsets)[users], targets, self.domain_of(targets))
