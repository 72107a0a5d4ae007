"""Sorting by user and time in buckets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncrec.data import events as events_module
from syncrec.data import ordering
from syncrec.data.events import Events
from syncrec.data.ordering import sort_events, stable_order


def make_events(users, times):
    """Events whose item tells their place in the input."""
    return Events(
        np.asarray(users, np.uint32), np.arange(len(users), dtype=np.uint32), np.asarray(times, dtype=np.int64)
    )


def sort(events, num_users, work, seed=None):
    offsets = np.concatenate([[0], np.cumsum(np.bincount(events.users, minlength=num_users))])
    identity = np.arange(num_users, dtype=np.uint32)
    items = np.arange(len(events), dtype=np.uint32)
    return sort_events(events, identity, items, offsets, work, seed)


@pytest.fixture
def tiny_buckets(monkeypatch):
    """Buckets and chunks so small that a few events fill several."""
    monkeypatch.setattr(ordering, "BUCKET_EVENTS", 4)
    monkeypatch.setattr(events_module, "CHUNK_EVENTS", 5)


@given(st.lists(st.integers(-5, 5)), st.sampled_from([1, 2**40, 2**58]))
def test_stable_order_is_that_of_a_stable_argsort_however_wide_the_keys(keys, scale):
    keys = np.asarray(keys, dtype=np.int64) * scale
    assert stable_order(keys).tolist() == np.argsort(keys, kind="stable").tolist()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40), st.sampled_from([1, 2**45, 2**60]))
def test_stable_order_sorts_by_the_first_key_then_the_second(pairs, scale):
    first = np.asarray([a for a, _ in pairs], dtype=np.uint32)
    second = np.asarray([b * scale for _, b in pairs], dtype=np.int64)
    assert stable_order(first, second).tolist() == np.lexsort((second, first)).tolist()


def test_events_come_by_user_then_time_and_ties_in_input_order(tmp_path, tiny_buckets):
    random = np.random.default_rng(1)
    events = make_events(random.integers(0, 9, 60), random.integers(0, 4, 60) * 500)
    found = sort(events, 9, tmp_path)
    expected = sorted(range(60), key=lambda place: (events.users[place], events.times[place], place))
    assert found.items.tolist() == expected
    assert found.users.tolist() == events.users[expected].tolist()
    assert found.times.tolist() == events.times[expected].tolist()


def test_users_and_items_get_their_new_numbers(tmp_path):
    events = Events(np.array([1, 0], np.uint32), np.array([0, 1], np.uint32), np.array([5, 6]))
    ranks = np.array([1, 0], np.uint32)
    found = sort_events(events, ranks, np.array([7, 8], np.uint32), np.array([0, 1, 2]), tmp_path, None)
    assert (found.users.tolist(), found.items.tolist(), found.times.tolist()) == ([0, 1], [7, 8], [5, 6])


def test_shuffled_ties_stay_in_time_order_and_depend_on_the_seed_alone(tmp_path):
    events = make_events([0] * 40, [1000] * 20 + [2000] * 20)
    one, same, other = (sort(events, 1, tmp_path, seed).items.tolist() for seed in (1, 1, 2))
    assert one == same != other
    assert sorted(one[:20]) == list(range(20))
    assert one[:20] != list(range(20))
