"""Where a log is cut into parts."""

import numpy as np
import pytest

from syncrec.data.parted import dealing
from syncrec.data.parted.dealing import part_bounds

OFFSETS = np.array([0, 4, 5, 6, 10, 11, 12])


def test_parts_have_about_as_many_events():
    assert part_bounds(OFFSETS, 2, whole_buckets=False).tolist() == [0, 3, 6]
    assert part_bounds(OFFSETS, 3, whole_buckets=False).tolist() == [0, 1, 4, 6]


def test_a_bucket_is_not_cut_where_ties_are_shuffled(monkeypatch):
    monkeypatch.setattr(dealing, "BUCKET_EVENTS", 5)
    # Users 0, 1 begin in bucket 0 and 1 (at 0, 4 | 5, 6 | 10, 11): user 3 lies in the bucket that user 2 begins.
    assert part_bounds(OFFSETS, 2, whole_buckets=True).tolist() == [0, 2, 6]
    assert part_bounds(OFFSETS, 3, whole_buckets=True).tolist() == [0, 4, 6]


@pytest.mark.parametrize("num_parts", [1, 2, 50])
def test_there_are_no_more_parts_than_users_and_none_is_empty(num_parts):
    bounds = part_bounds(OFFSETS, num_parts, whole_buckets=False)
    assert (bounds[0], bounds[-1]) == (0, 6)
    assert (np.diff(bounds) > 0).all()
    assert len(bounds) <= min(num_parts, 6) + 1
