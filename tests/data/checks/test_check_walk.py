"""Chunks of whole users, and the checks against loops over users on random histories."""

from itertools import pairwise

import numpy as np
import pytest

from syncrec.data.checks import walk
from syncrec.data.checks.duplicates import check_duplicate_events
from syncrec.data.checks.leakage import check_cold_targets, check_repeated_targets, check_ties_at_split
from syncrec.data.checks.walk import chunks


def test_chunks_hold_whole_users_and_all_of_them(clean):
    spans = [(chunk.first, chunk.last, chunk.span) for chunk in chunks(clean, size=6)]
    assert spans == [(0, 1, slice(0, 5)), (1, 2, slice(5, 10)), (2, 4, slice(10, 16))]
    parts = np.concatenate([chunk.parts for chunk in chunks(clean, size=1)])
    assert parts.tolist() == [0, 0, 0, 1, 2, 0, 0, 0, 1, 2, 0, 0, 1, 2, 0, 0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1, 17, 1 << 20])
def test_counts_are_those_of_loops_over_users_whatever_the_chunks(make, monkeypatch, seed, size):
    monkeypatch.setattr(walk.chunks, "__defaults__", (size,))
    random = np.random.default_rng(seed)
    histories = [random.integers(0, 10, n).tolist() for n in random.integers(1, 12, 20)]
    times = [np.sort(random.integers(0, 5, len(history))).tolist() for history in histories]
    dataset = make(histories, times)
    targets = [(h, t, i) for h, t in zip(histories, times, strict=True) if len(h) > 2 for i in (len(h) - 2, len(h) - 1)]
    trained = {item for h in histories for item in (h[:-2] if len(h) > 2 else h)}
    events = [list(zip(h, t, strict=True)) for h, t in zip(histories, times, strict=True)]
    assert check_repeated_targets(dataset).count == sum(h[i] in h[:i] for h, _, i in targets)
    assert check_ties_at_split(dataset).count == sum(t[i] == t[i - 1] for _, t, i in targets)
    assert check_cold_targets(dataset).count == sum(h[i] not in trained for h, _, i in targets)
    assert check_duplicate_events(dataset).count == sum(a == b for row in events for a, b in pairwise(sorted(row)))
