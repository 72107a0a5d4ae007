"""Packed batches against histories read one at a time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import catalogue_of, flat
from syncrec.data.catalogue import NUM_PERIODS, Catalogue
from syncrec.data.packing import (
    BatchPacker,
    history_batch,
    longest_segments,
    pack_segments,
    query_batches,
    training_batches,
    training_users,
)

CATALOGUE = catalogue_of(4, 1, 5)
APART = replace(CATALOGUE, communities=(0, 1, 0))
START = CATALOGUE.num_items
QUESTIONS = st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=9), st.integers(0, 2)), min_size=1, max_size=6)
HISTORIES = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9), min_size=1, max_size=6)


def domain_of(item):
    return 0 if item < 4 else 1 if item < 5 else 2


def read_before(view, slot):
    """(tokens, domains, positions) that the output at a flat slot may read: its segment up to itself."""
    tokens, domains, positions, segments = (
        a.reshape(-1) for a in (view.tokens, view.domains, view.positions, view.segments)
    )
    length = view.tokens.shape[1]
    row = range(slot // length * length, slot + 1)
    assert segments[slot] >= 0
    read = [i for i in row if segments[i] == segments[slot]]
    return [[int(values[i]) for i in read] for values in (tokens, domains, positions)]


def expected_views(history, domain, catalogue=CATALOGUE):
    """What is read in the cross and in the single view after `history`, asked for `domain`."""
    own = [e for e in history if domain_of(e) == domain]
    if catalogue is APART:
        history = [e for e in history if (domain_of(e) == 1) == (domain == 1)]
    cross = [[START, *history], [3, *map(domain_of, history)], list(range(len(history) + 1))]
    single = [[START + 1 + domain, *own], [domain] * (len(own) + 1), list(range(len(own) + 1))]
    return cross, single


@given(st.lists(st.integers(1, 12), max_size=30), st.integers(12, 20))
def test_segments_lie_whole_and_apart_in_the_rows(lengths, capacity):
    rows, starts, num_rows = pack_segments(np.asarray(lengths, dtype=np.int64), capacity)
    taken = [(r, s + i) for r, s, n in zip(rows, starts, lengths, strict=True) for i in range(n)]
    assert len(set(taken)) == sum(lengths)
    assert all(0 <= slot < capacity for _, slot in taken)
    assert {row for row, _ in taken} == set(range(num_rows))
    assert num_rows <= 2 * -(-sum(lengths) // capacity)


def test_times_go_with_their_events():
    histories, times = [[0, 6, 1, 7], [9]], np.asarray([10, 20, 30, 40, 50])
    packer = BatchPacker(CATALOGUE, 9)
    asked = packer.query_batch(*flat(histories), np.asarray([0, 2]), times)
    for packed in (packer.training_batch(*flat(histories), times), asked):
        for view in (packed.cross, packed.single):
            pairs = set(zip(view.tokens.flat, view.times.flat, strict=True))
            assert {(t, s) for t, s in pairs if t < START} <= {(0, 10), (6, 20), (1, 30), (7, 40), (9, 50)}
            assert {s for t, s in pairs if t >= START} == {0}
    assert (asked.cross.times > 0).sum() == 5


def test_periods_hold_equally_many_training_events(tiny_dataset):
    edges = np.asarray(Catalogue.of(tiny_dataset).period_edges)
    assert len(edges) == NUM_PERIODS - 1
    ranges = zip(tiny_dataset.user_offsets, tiny_dataset.train_end, strict=False)
    times = np.concatenate([tiny_dataset.timestamps[start:stop] for start, stop in ranges])
    counts = np.bincount(np.searchsorted(edges, times, side="right"), minlength=NUM_PERIODS)
    assert counts.max() - counts.min() <= 2


@pytest.mark.parametrize("catalogue", [CATALOGUE, APART], ids=["one community", "two communities"])
@given(histories=HISTORIES)
def test_every_event_is_asked_after_exactly_the_events_before_it(catalogue, histories):
    packed = BatchPacker(catalogue, 9).training_batch(*flat(histories))
    places = [(user, t) for user, history in enumerate(histories) for t in range(len(history))]
    assert sorted(packed.order.tolist()) == list(range(len(places)))
    for n, place in enumerate(packed.order.tolist()):
        user, t = places[place]
        target = histories[user][t]
        cross, single = expected_views(histories[user][:t], domain_of(target), catalogue)
        assert (packed.users[n], packed.targets[n], packed.domains[n]) == (user, target, domain_of(target))
        assert read_before(packed.cross, packed.cross_slots[n]) == cross
        assert read_before(packed.single, packed.single_slots[n]) == single


@pytest.mark.parametrize("catalogue", [CATALOGUE, APART], ids=["one community", "two communities"])
@given(
    questions=st.lists(st.tuples(st.lists(st.integers(0, 9), max_size=9), st.integers(0, 2)), min_size=1, max_size=6)
)
def test_every_question_is_asked_after_the_whole_history(catalogue, questions):
    histories, domains = [h for h, _ in questions], np.asarray([d for _, d in questions])
    packed = BatchPacker(catalogue, 9).query_batch(*flat(histories), domains)
    assert sorted(packed.order.tolist()) == list(range(len(histories)))
    for n, number in enumerate(packed.order.tolist()):
        cross, single = expected_views(histories[number], domains[number], catalogue)
        assert (packed.users[n], packed.targets[n], packed.domains[n]) == (number, -1, domains[number])
        assert read_before(packed.cross, packed.cross_slots[n]) == cross
        assert read_before(packed.single, packed.single_slots[n]) == single


@given(HISTORIES)
def test_targets_are_sorted_by_domain_and_counted(histories):
    packed = BatchPacker(CATALOGUE, 9).training_batch(*flat(histories))
    assert (np.diff(packed.domains) >= 0).all()
    assert packed.domain_counts.tolist() == [sum(domain_of(e) == d for h in histories for e in h) for d in range(3)]


@given(HISTORIES)
def test_slots_left_over_hold_valid_codes(histories):
    packed = BatchPacker(CATALOGUE, 9).training_batch(*flat(histories))
    for view in (packed.cross, packed.single):
        assert view.tokens.min() >= 0
        assert view.tokens.max() < CATALOGUE.num_tokens
        assert view.positions.max() <= 9
        assert view.domains.max() <= 3
        used = view.segments >= 0
        assert (np.unique(view.segments[used], return_counts=True)[1]).sum() == len(packed.targets)


@pytest.mark.parametrize("name", ["cross", "single"])
def test_a_view_that_is_not_wanted_is_empty_and_leaves_the_other_as_it_is(name):
    histories = [[0, 4, 5, 1], [9, 2]]
    full, half = (BatchPacker(CATALOGUE, 9, views) for views in (("cross", "single"), (name,)))
    questions = (*flat(histories), np.asarray([2, 0]))
    pairs = [
        (full.training_batch(*flat(histories)), half.training_batch(*flat(histories))),
        (full.query_batch(*questions), half.query_batch(*questions)),
    ]
    other = {"cross": "single", "single": "cross"}[name]
    for both, one in pairs:
        assert getattr(one, other).tokens.size == 0
        assert np.array_equal(getattr(both, name).tokens, getattr(one, name).tokens)
        assert np.array_equal(getattr(both, f"{name}_slots"), getattr(one, f"{name}_slots"))


def test_no_question_at_all_gives_an_empty_batch():
    packed = history_batch(BatchPacker(CATALOGUE, 5), [], np.zeros(0, dtype=np.int64))
    assert len(packed.targets) == 0


def test_histories_are_cut_to_their_last_events():
    packed = history_batch(BatchPacker(CATALOGUE, 3), [np.asarray([0, 1, 4, 9, 2])], np.asarray([0]))
    assert read_before(packed.cross, packed.cross_slots[0])[0] == [START, 4, 9, 2]


def test_training_users_have_an_event_to_train_on(tiny_dataset):
    lengths = np.diff(tiny_dataset.user_offsets)
    assert training_users(tiny_dataset).tolist() == np.flatnonzero(lengths > 2).tolist()


def targets_of(batches):
    return [np.sort(b.targets).tolist() for b in batches]


def test_an_epoch_asks_the_last_training_events_of_every_user_once(tiny_dataset):
    packer, users = BatchPacker(CATALOGUE_OF_TINY, 5), training_users(tiny_dataset)
    batches = list(training_batches(tiny_dataset, packer, users, 7, seed=0, epoch=0))
    expected = []
    for user in users:
        first, end = tiny_dataset.user_offsets[user], tiny_dataset.train_end[user]
        expected += tiny_dataset.items[max(first, end - 6) : end].tolist()
    assert sorted(t for batch in targets_of(batches) for t in batch) == sorted(expected)
    assert len(batches) == -(-len(users) // 7)
    assert max(b.users.max() for b in batches) < 7


CATALOGUE_OF_TINY = catalogue_of(9, 1, 14)


def test_the_order_of_users_depends_on_seed_and_epoch_alone(tiny_dataset):
    packer, users = BatchPacker(CATALOGUE_OF_TINY, 5), training_users(tiny_dataset)

    def epoch(seed, number, skip=0):
        return targets_of(training_batches(tiny_dataset, packer, users, 7, seed, number, skip))

    assert epoch(0, 1) == epoch(0, 1)
    assert epoch(0, 1) != epoch(0, 2)
    assert epoch(0, 1) != epoch(1, 1)
    assert epoch(0, 1, skip=3) == epoch(0, 1)[3:]
    assert epoch(0, 1, skip=99) == []


@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_query_is_asked_once_after_its_history(tiny_dataset, split):
    queries, seen = tiny_dataset.queries(split), []
    for packed, numbers in query_batches(tiny_dataset, BatchPacker(CATALOGUE_OF_TINY, 5), queries, 8):
        seen += numbers.tolist()
        assert np.array_equal(packed.targets, queries.targets[numbers])
        assert np.array_equal(packed.domains, queries.domains[numbers])
        for n, number in enumerate(numbers):
            stop = queries.target_events[number]
            start = max(queries.history_starts[number], stop - 5)
            history = tiny_dataset.items[start:stop].tolist()
            assert read_before(packed.cross, packed.cross_slots[n])[0] == [CATALOGUE_OF_TINY.num_items, *history]
    assert sorted(seen) == list(range(len(queries)))


@pytest.mark.parametrize("max_length", [3, 50])
@pytest.mark.parametrize("together", [(0, 0, 0), (0, 1, 0), (0, 1, 2)])
def test_the_longest_segments_are_those_of_the_batches(tiny_dataset, together, max_length):
    packer = BatchPacker(Catalogue.of(tiny_dataset, together), max_length)
    found = longest_segments(tiny_dataset, np.asarray(tiny_dataset.train_end), np.asarray(together), max_length)
    expected = np.zeros(max(together) + 1, dtype=int)
    for batch in training_batches(tiny_dataset, packer, training_users(tiny_dataset), 7, 0, 0):
        asked = batch.cross.positions.flatten()[batch.cross_slots] + 1
        np.maximum.at(expected, np.asarray(together)[batch.domains], asked)
    assert found.tolist() == expected.tolist()
