"""The filters, each against a slow version in loops."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncrec.config import PrepareConfig
from syncrec.data import events as events_module
from syncrec.data.events import Events
from syncrec.data.filters import apply_filters, count
from syncrec.data.k_core import Limits, k_core
from syncrec.errors import DataError

DOMAIN_OF_ITEM = np.array([0, 0, 1, 1, 2, 2])


@pytest.fixture(autouse=True)
def tiny_chunks(monkeypatch):
    monkeypatch.setattr(events_module, "CHUNK_EVENTS", 4)


def make_events(pairs):
    """Events of (user, item) sorted by user, one second apart."""
    users, items = zip(*sorted(pairs, key=lambda pair: pair[0]), strict=True)
    return Events(np.asarray(users, np.uint32), np.asarray(items, np.uint32), np.arange(len(users)) * 1000)


def pairs_of(events):
    return list(zip(events.users.tolist(), events.items.tolist(), strict=True))


def slow_k_core(pairs, limits):
    """Take out one offender at a time until there is none."""
    pairs = sorted(pairs, key=lambda pair: pair[0])
    while True:
        of_user, of_item = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        domains = {user: len({DOMAIN_OF_ITEM[i] for u, i in pairs if u == user}) for user in of_user}
        offenders = [("user", u) for u, n in of_user.items() if n < limits.user_interactions]
        offenders += [("user", u) for u, n in domains.items() if n < limits.user_domains]
        offenders += [("item", i) for i, n in of_item.items() if n < limits.item_interactions]
        if not offenders:
            return pairs
        kind, which = offenders[0]
        pairs = [pair for pair in pairs if pair[0 if kind == "user" else 1] != which]


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 5)), min_size=1, max_size=60),
    st.builds(Limits, st.integers(1, 5), st.integers(1, 8), st.integers(1, 3)),
)
def test_k_core_is_what_taking_out_one_offender_at_a_time_leaves(tmp_path_factory, pairs, limits):
    events, details = k_core(make_events(pairs), DOMAIN_OF_ITEM, limits, tmp_path_factory.mktemp("work"))
    assert pairs_of(events) == slow_k_core(pairs, limits)
    assert (details["rounds"] == 0) == (len(events) == len(pairs))


def test_a_removed_user_can_drop_an_item_and_that_another_user(tmp_path):
    # User 2 has one event; without it item 1 has one, without which user 1 has one.
    events = make_events([(0, 0), (0, 0), (1, 0), (1, 1), (2, 1)])
    kept, details = k_core(events, DOMAIN_OF_ITEM, Limits(2, 2, 1), tmp_path)
    assert pairs_of(kept) == [(0, 0), (0, 0)]
    assert (details["rounds"], details["users_below_interactions"], details["items_below_interactions"]) == (3, 2, 1)


def run(pairs, tmp_path, **settings):
    lines = []
    config = PrepareConfig(**{"min_user_interactions": 1, **settings})
    events, steps = apply_filters(make_events(pairs), DOMAIN_OF_ITEM, config, tmp_path, lines.append)
    return events, steps, lines


def test_repeats_go_only_where_the_same_user_repeats_the_item_at_once(tmp_path):
    pairs = [(0, 1), (0, 1), (0, 1), (0, 2), (0, 1), (1, 1), (1, 1)]
    events, _, _ = run(pairs, tmp_path, drop_repeats=True)
    assert pairs_of(events) == [(0, 1), (0, 2), (0, 1), (1, 1)]


def test_max_history_keeps_the_last_events_of_each_user(tmp_path):
    pairs = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (2, 0), (2, 1), (2, 2)]
    events, _, _ = run(pairs, tmp_path, max_history=3)
    assert pairs_of(events) == [(0, 2), (0, 3), (0, 4), (1, 5), (2, 0), (2, 1), (2, 2)]


def test_repeats_are_dropped_before_interactions_are_counted(tmp_path):
    with pytest.raises(DataError, match="nothing is left by the filter k-core"):
        run([(0, 1), (0, 1), (0, 1)], tmp_path, drop_repeats=True, min_user_interactions=2)


def test_every_filter_is_named_and_counted_before_and_after(tmp_path):
    pairs = [(0, 0), (0, 0), (0, 2), (0, 3), (0, 4), (1, 5)]
    _, steps, lines = run(pairs, tmp_path, drop_repeats=True, min_user_interactions=2, max_history=3)
    assert [step.name for step in steps] == ["repeats", "k-core", "max-history"]
    assert [(s.before.events, s.after.events) for s in steps] == [(6, 5), (5, 4), (4, 3)]
    assert lines[0] == "filter repeats: 6 events, 2 users, 5 items -> 5 events, 2 users, 5 items"
    assert "min_user_interactions 2" in lines[1]
    assert "4 events, 1 user, 4 items -> 3 events, 1 user, 3 items" in lines[2]


def test_the_filter_that_leaves_nothing_is_named_with_its_limits(tmp_path):
    with pytest.raises(DataError, match=r"nothing is left by the filter k-core \(.*min_user_domains 3.*lower its"):
        run([(0, 0), (0, 1)], tmp_path, min_user_domains=3)


def test_counts_of_no_events_are_zero():
    assert str(count(make_events([(0, 0)])[:0])) == "0 events, 0 users, 0 items"
