"""Packed batches: many histories in few rows, both views of every history, no padding work.

A *segment* is one causal sequence: a start token and the events after it. The cross view has one segment a user (the
hybrid history), the single view one for every domain in which the user is asked something (model.md section 1). Where
domains form several communities, the cross view has a segment for each community that the user is asked something in.
Segments are packed whole into rows of equal length; attention is block-diagonal over segments.

Token codes: an item is its index in the dataset, 0..I-1; `I + t` starts task t (0: cross, 1 + d: domain d).
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from syncrec.data.catalogue import Catalogue
from syncrec.data.dataset import Dataset, Queries
from syncrec.data.ranges import event_ranges
from syncrec.rng import numpy_generator

__all__ = [
    "BatchPacker",
    "PackedBatch",
    "PackedView",
    "ViewName",
    "history_batch",
    "longest_segments",
    "pack_segments",
    "query_batches",
    "training_batches",
    "training_users",
]

Ints = npt.NDArray[np.int64]
ViewName = Literal["cross", "single"]

_USERS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class PackedView:
    """Rows of packed segments; all arrays int64 [rows, length].

    `segments` numbers the segments through all rows; -1 marks the few slots left over at a row's end, which hold
    valid codes so that nothing needs a special case, and are read by nobody.
    """

    tokens: Ints
    domains: Ints  # of the token; a start token of the cross task has D
    positions: Ints  # within the segment, the start token has 0
    segments: Ints
    times: Ints  # of the event, unix seconds; 0 at start tokens


@dataclass(frozen=True)
class PackedBatch:
    """Both views of some histories, and what is asked of them.

    Entries of the per-target arrays are sorted by the target's domain. `cross_slots` and `single_slots` are flat
    indices into the rows of either view: the position whose output answers the target.
    """

    cross: PackedView
    single: PackedView
    targets: Ints  # item index [N]; -1 where the answer is not known
    domains: Ints  # [N], ascending
    users: Ints  # [N], number of the history in the batch
    cross_slots: Ints  # [N]
    single_slots: Ints  # [N]
    domain_counts: Ints  # targets of each domain [D]
    order: Ints  # [N], number of the target as it was handed in
    first_target: int = 0  # of how many targets of other processes, handed in before, it is a part
    num_all_targets: int | None = None  # of the whole batch; None: this is the whole


def pack_segments(lengths: Ints, capacity: int) -> tuple[Ints, Ints, int]:
    """Place segments into rows of `capacity` slots, longest first, each into the fullest row with room for it.

    Returns:
        row and first slot of each segment, and the number of rows.
    """
    rows = np.zeros(len(lengths), dtype=np.int64)
    starts = np.zeros(len(lengths), dtype=np.int64)
    room: list[tuple[int, int]] = []  # (free slots, row), ascending
    num_rows = 0
    for segment in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[segment])
        place = bisect_left(room, (length, -1))
        if place == len(room):
            free, row, num_rows = capacity, num_rows, num_rows + 1
        else:
            free, row = room.pop(place)
        rows[segment], starts[segment] = row, capacity - free
        if free > length:
            insort(room, (free - length, row))
    return rows, starts, num_rows


class _Tokens(NamedTuple):
    """Events, or start tokens, one after another; as in `PackedView`, int64 [n] each."""

    codes: Ints
    domains: Ints
    times: Ints

    def take(self, order: Ints | npt.NDArray[np.bool_]) -> "_Tokens":
        return _Tokens(*(array[order] for array in self))


def _fill_rows(lengths: Ints) -> tuple[Ints, Ints, int, int]:
    """`pack_segments` at the row length that costs least, and that length.

    Short rows leave room over, long ones waste attention: a slot costs as much again where a row has 150 slots more.
    """
    longest = max(32, int(lengths.max(initial=1)))
    packed = [(*pack_segments(lengths, capacity), capacity) for capacity in (longest, longest * 3 // 2, longest * 2)]
    return min(packed, key=lambda found: found[2] * found[3] * (150 + found[3]))


def _lay_out(tokens: "_Tokens", lengths: Ints, filler: tuple[int, int]) -> tuple[PackedView, Ints]:
    """Pack segments that follow each other in `tokens`; also gives the flat slot of every token."""
    rows, starts, num_rows, capacity = _fill_rows(lengths)
    positions = _ranges(lengths)
    slots = np.repeat(rows * capacity + starts, lengths) + positions
    size = max(num_rows, 1) * capacity

    def placed(values: Ints, fill: int) -> Ints:
        flat = np.full(size, fill, dtype=np.int64)
        flat[slots] = values
        return flat.reshape(-1, capacity)

    segments = np.repeat(np.arange(len(lengths)), lengths)
    view = PackedView(
        tokens=placed(tokens.codes, filler[0]),
        domains=placed(tokens.domains, filler[1]),
        positions=placed(positions, 0),
        segments=placed(segments, -1),
        times=placed(tokens.times, 0),
    )
    return view, slots


def _ranges(lengths: Ints) -> Ints:
    """0..n-1 for each n of `lengths`, one after another."""
    total = int(lengths.sum())
    return np.arange(total, dtype=np.int64) - np.repeat(np.cumsum(lengths) - lengths, lengths)


class BatchPacker:
    """Makes packed batches from events of a catalogue; a view that is not in `views` is left empty."""

    def __init__(
        self,
        catalogue: Catalogue,
        max_length: int,
        views: Collection[ViewName] = ("cross", "single"),
        is_known: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """`is_known` [I]: items that a question reads in a history, skipping all others; None: it reads every one."""
        self.catalogue = catalogue
        self.max_length = max_length
        self.views = frozenset(views)
        self._offsets = np.asarray(catalogue.offsets, dtype=np.int64)
        self._community_of = catalogue.community_of
        self._is_known = is_known
        self._num_communities = int(self._community_of.max(initial=0)) + 1

    def training_batch(self, events: Ints, lengths: Ints, times: Ints | None = None) -> PackedBatch:
        """Every event is a target; `events` holds the histories one after another, at most T + 1 events each.

        The input at a target is the event before it (start token: none), in the hybrid history (of its community) and
        in the history of the target's domain. `times` are those of the events, unix seconds; None: all the same.
        """
        users = np.repeat(np.arange(len(lengths)), lengths)
        tokens = self._tokens(events, times)
        cross, cross_slots = self._training_view("cross", tokens, users)
        single, single_slots = self._training_view("single", tokens, users)
        return self._batch(cross, single, events, tokens.domains, users, cross_slots, single_slots)

    def _training_view(self, name: ViewName, tokens: _Tokens, users: Ints) -> tuple[PackedView, Ints]:
        """One view and the flat slot at which each event, in the order given, is asked for."""
        if name not in self.views:
            return self._empty_view(len(users))
        if name == "cross":
            keys = users * self._num_communities + self._community_of[tokens.domains]
        else:
            keys = users * self.catalogue.num_domains + tokens.domains
        order = np.argsort(keys, kind="stable")
        lengths = _run_lengths(keys[order])
        ordered = tokens.take(order)
        is_first = _ranges(lengths) == 0
        starts = self._starts(None if name == "cross" else ordered.domains, len(users))
        before = [np.where(is_first, start, np.roll(array, 1)) for start, array in zip(starts, ordered, strict=True)]
        view, ordered_slots = self._view(_Tokens(*before), lengths)
        slots = np.empty_like(ordered_slots)
        slots[order] = ordered_slots
        return view, slots

    def query_batch(self, events: Ints, lengths: Ints, domains: Ints, times: Ints | None = None) -> PackedBatch:
        """One question a history: the next item after all its events (at most T, none is fine), in `domains`.

        Of these the ones with items that are known are read.

        `times` are those of the events, unix seconds; None: all the same.
        """
        tokens, count = self._tokens(events, times), len(lengths)
        cross, cross_slots = self._empty_view(count)
        single, single_slots = self._empty_view(count)
        users = np.repeat(np.arange(count), lengths)
        is_known = np.True_ if self._is_known is None else self._is_known[events]
        if "cross" in self.views:
            is_read = self._community_of[tokens.domains] == self._community_of[domains][users]
            cross, cross_slots = self._after_start(*_taken(tokens, users, is_read & is_known, count), None)
        if "single" in self.views:
            is_own = tokens.domains == domains[users]
            single, single_slots = self._after_start(*_taken(tokens, users, is_own & is_known, count), domains)
        unknown = np.full(count, -1, dtype=np.int64)
        return self._batch(cross, single, unknown, domains, np.arange(count), cross_slots, single_slots)

    def _empty_view(self, num_targets: int) -> tuple[PackedView, Ints]:
        nothing = np.zeros((0, 1), dtype=np.int64)
        return PackedView(nothing, nothing, nothing, nothing, nothing), np.zeros(num_targets, dtype=np.int64)

    def _after_start(self, tokens: _Tokens, lengths: Ints, domains: Ints | None) -> tuple[PackedView, Ints]:
        """Segments of a start token and all events; the slots are those of the last tokens."""
        before = np.cumsum(lengths) - lengths
        starts = self._starts(domains, len(lengths))
        whole = [np.insert(array, before, start) for start, array in zip(starts, tokens, strict=True)]
        view, slots = self._view(_Tokens(*whole), lengths + 1)
        return view, slots[np.cumsum(lengths + 1) - 1]

    def _starts(self, domains: Ints | None, count: int) -> _Tokens:
        """`count` start tokens: those of single tasks in `domains`, or of the cross task."""
        if domains is None:
            domains, codes = np.full(count, self.catalogue.num_domains), np.full(count, self.catalogue.num_items)
        else:
            codes = self.catalogue.num_items + 1 + domains
        return _Tokens(codes, domains, np.zeros(count, dtype=np.int64))

    def _tokens(self, events: Ints, times: Ints | None) -> _Tokens:
        return _Tokens(events, self._domain_of(events), np.zeros_like(events) if times is None else times)

    def _view(self, tokens: _Tokens, lengths: Ints) -> tuple[PackedView, Ints]:
        return _lay_out(tokens, lengths, (self.catalogue.num_items, self.catalogue.num_domains))

    def _domain_of(self, items: Ints) -> Ints:
        return np.searchsorted(self._offsets, items, side="right") - 1

    def _batch(
        self,
        cross: PackedView,
        single: PackedView,
        targets: Ints,
        domains: Ints,
        users: Ints,
        cross_slots: Ints,
        single_slots: Ints,
    ) -> PackedBatch:
        order = np.argsort(domains, kind="stable")
        counts = np.bincount(domains, minlength=self.catalogue.num_domains).astype(np.int64)
        return PackedBatch(
            cross,
            single,
            targets[order],
            domains[order],
            users[order],
            cross_slots[order],
            single_slots[order],
            counts,
            order,
        )


def _taken(tokens: _Tokens, users: Ints, is_read: npt.NDArray[np.bool_], count: int) -> tuple[_Tokens, Ints]:
    """The events of `users` [n] that are read, and how many each of the `count` users has of them."""
    return tokens.take(is_read), np.bincount(users[is_read], minlength=count).astype(np.int64)


def _run_lengths(values: Ints) -> Ints:
    edges = np.flatnonzero(np.diff(values, prepend=-1)) if len(values) else np.zeros(0, dtype=np.int64)
    return np.diff(edges, append=len(values))


def training_users(dataset: Dataset) -> Ints:
    """Users with at least one training event."""
    return np.flatnonzero(np.asarray(dataset.train_end) > np.asarray(dataset.user_offsets)[:-1])


def longest_segments(dataset: Dataset, ends: Ints, together: Ints, max_length: int) -> Ints:
    """The most targets that a segment of `training_batches` has, by group of domains, int64 [groups].

    Args:
        dataset: whose events are read.
        ends: event index where each user's training events end, int64 [U].
        together: a number for each domain [D]; events of domains with the same one make a segment.
        max_length: T.
    """
    longest = np.zeros(int(together.max(initial=0)) + 1, dtype=np.int64)
    starts = _first_targets(np.asarray(dataset.user_offsets)[:-1], ends, max_length)
    for first in range(0, len(ends), _USERS_AT_ONCE):
        some = slice(first, first + _USERS_AT_ONCE)
        users, events = event_ranges(starts[some], ends[some])
        groups = together[dataset.domain_of(np.asarray(dataset.items[events]))]
        counts = np.bincount(users * len(longest) + groups, minlength=len(starts[some]) * len(longest))
        longest = np.maximum(longest, counts.reshape(-1, len(longest)).max(0))
    return longest


def training_batches(  # noqa: PLR0913 (what of which epoch, and whose part)
    dataset: Dataset,
    packer: BatchPacker,
    users: Ints,
    batch_size: int,
    seed: int,
    epoch: int,
    skip: int = 0,
    ends: Ints | None = None,
    *,
    share: tuple[int, int] = (0, 1),
) -> Iterator[PackedBatch]:
    """One epoch over `users` in an order drawn for `epoch`, without its first `skip` batches.

    Of each user the last T + 1 events before `ends` [U] are targets; None: before the end of the training part.
    With `share` (i, n) of each batch the i-th of n parts: neighbours in it with about as many events as in the
    others, or nobody at all.
    """
    order = users[numpy_generator(seed, "order", epoch).permutation(len(users))]
    ends, firsts = np.asarray(dataset.train_end if ends is None else ends), np.asarray(dataset.user_offsets)
    for start in range(skip * batch_size, len(order), batch_size):
        chosen = order[start : start + batch_size]
        stops = ends[chosen]
        starts = _first_targets(firsts[chosen], stops, packer.max_length)
        own, first, total = _share(stops - starts, *share)
        events, lengths, times = _gather(dataset, starts[own], stops[own])
        batch = packer.training_batch(events, lengths, times)
        yield replace(batch, first_target=first, num_all_targets=total)


def _first_targets(firsts: Ints, stops: Ints, max_length: int) -> Ints:
    """Where the last T + 1 events before `stops` begin, of users whose events begin at `firsts`; event indices [n]."""
    return np.maximum(firsts, stops - max_length - 1)


def _share(lengths: Ints, number: int, count: int) -> tuple[slice, int, int]:
    """Part `number` of `count` of a batch: its users, the number of events before them, and of all."""
    ends = np.cumsum(lengths)
    total = int(ends[-1])
    cuts = np.searchsorted(ends - lengths / 2, total * np.arange(count + 1) / count)
    own = slice(int(cuts[number]), int(cuts[number + 1]))
    return own, int(ends[own.start - 1]) if own.start else 0, total


def query_batches(
    dataset: Dataset, packer: BatchPacker, queries: Queries, batch_size: int
) -> Iterator[tuple[PackedBatch, Ints]]:
    """All `queries` in batches of similar history length; with each batch the numbers of its queries, in its order."""
    starts = np.maximum(queries.history_starts, queries.target_events - packer.max_length)
    by_length = np.argsort(queries.target_events - starts, kind="stable")
    for first in range(0, len(queries), batch_size):
        chosen = by_length[first : first + batch_size]
        events, lengths, times = _gather(dataset, starts[chosen], queries.target_events[chosen])
        batch = packer.query_batch(events, lengths, queries.domains[chosen], times)
        batch = replace(batch, targets=queries.targets[chosen][batch.order])
        yield batch, chosen[batch.order]


def history_batch(
    packer: BatchPacker, histories: Sequence[Ints], domains: Ints, times: Sequence[Ints] | None = None
) -> PackedBatch:
    """A query batch for histories that are not in a dataset; each is cut to its last T events, and so are `times`."""
    lengths = np.asarray([min(len(h), packer.max_length) for h in histories], dtype=np.int64)
    events = _last_events(histories, packer.max_length)
    return packer.query_batch(
        events, lengths, domains, None if times is None else _last_events(times, packer.max_length)
    )


def _last_events(arrays: Sequence[Ints], length: int) -> Ints:
    cut = [np.asarray(array, dtype=np.int64)[-length:] for array in arrays]
    return np.concatenate(cut) if cut else np.zeros(0, dtype=np.int64)


def _gather(dataset: Dataset, starts: Ints, stops: Ints) -> tuple[Ints, Ints, Ints]:
    """Items of the events in all ranges, lengths of the ranges, times of the events."""
    _, indices = event_ranges(starts, stops)
    items = np.asarray(dataset.items)[indices].astype(np.int64)
    return items, np.asarray(stops - starts, dtype=np.int64), np.asarray(dataset.timestamps)[indices]
