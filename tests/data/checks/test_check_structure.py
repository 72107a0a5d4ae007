"""Files, boundaries, item numbers, split and order of time."""

import numpy as np
import pytest

from prepared import CLEAN, arrays_of
from syncrec.data.checks.checklist import check_dataset, check_shape
from syncrec.data.checks.structure import (
    check_boundaries,
    check_checksums,
    check_item_numbers,
    check_split_parts,
    check_time_order,
)

ARRAYS = arrays_of(CLEAN)


def changed(array, place, value):
    copy = array.copy()
    copy[place] = value
    return copy


def test_nothing_is_found_where_nothing_is_wrong(clean):
    found = [check.rule.name for check in [*check_shape(clean), *check_dataset(clean)] if check.has_fired]
    assert found == []


class TestChecksums:
    def test_an_altered_file_is_named(self, clean):
        path = clean.path / "timestamps.npy"
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
        check = check_checksums(clean.path, clean.manifest)
        assert (check.count, check.examples) == (1, ("timestamps.npy",))

    def test_unaltered_files_are_many_and_fine(self, clean):
        check = check_checksums(clean.path, clean.manifest)
        assert (check.count, check.total) == (0, 12)


class TestBoundaries:
    @pytest.mark.parametrize(
        ("name", "place", "value", "user"),
        [
            ("train_end", 0, 6, "u00"),  # training reaches into the next user
            ("train_end", 1, 10, "u01"),  # training holds validation and test
            ("train_end", 2, 9, "u02"),  # training ends before the user begins
            ("validation_end", 2, 15, "u02"),  # validation reaches into the next user
        ],
    )
    def test_a_part_out_of_order_names_the_user(self, make, name, place, value, user):
        check = check_boundaries(make(**{name: changed(getattr(ARRAYS, name), place, value)}))
        assert check.is_error
        assert f"user {user}" in check.examples

    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"user_offsets": changed(ARRAYS.user_offsets, -1, 15)}, "offsets 0..15 and 16 times for 16 items"),
            ({"timestamps": ARRAYS.timestamps[:-1]}, "15 times for 16 items"),
            ({"train_end": ARRAYS.train_end[:-1]}, r"have (4, 3, 4) entries for 4 users"),
            ({"item_counts": ARRAYS.item_counts[:-1]}, "item_counts do not have 10 entries"),
            ({"items": ARRAYS.items.astype(float)}, "items is float64 of 1 dimensions, not int32 of 1"),
            ({"timestamps": ARRAYS.timestamps[None]}, "timestamps is int64 of 2 dimensions, not int64 of 1"),
            ({"user_offsets": ARRAYS.user_offsets[:1]}, "there are no users"),
        ],
    )
    def test_arrays_that_do_not_fit_are_said_to(self, make, changes, fault):
        check = check_boundaries(make(**changes))
        assert check.is_error
        assert fault in check.detail

    def test_parts_in_order_are_fine(self, clean):
        assert not check_boundaries(clean).has_fired

    def test_where_they_are_wrong_nothing_else_is_tried(self, make):
        broken = make(train_end=changed(ARRAYS.train_end, 0, 40))
        assert [check.rule.name for check in check_shape(broken)] == ["boundaries"]


class TestItemNumbers:
    @pytest.mark.parametrize("number", [-1, 10])
    def test_an_item_outside_the_catalogue_is_counted(self, make, number):
        assert check_item_numbers(make(items=changed(ARRAYS.items, 3, number))).count == 1

    def test_items_of_the_catalogue_are_fine(self, clean):
        assert not check_item_numbers(clean).has_fired


class TestSplitParts:
    def test_a_second_test_event_is_not_leave_one_out(self, make):
        check = check_split_parts(make(validation_end=changed(ARRAYS.validation_end, 1, 8)))
        assert (check.count, check.examples) == (1, ("user u01",))

    def test_a_target_of_two_events_is_not_leave_one_out(self, make):
        check = check_split_parts(make(validation_end=changed(ARRAYS.validation_end, 3, 15)))
        assert check.examples == ("user u03",)

    def test_leave_one_out_is_not_temporal_where_training_is_later_than_a_test_event(self, make):
        times = [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [1, 2, 3, 4], [1, 2]]
        check = check_split_parts(make(times=times, split="temporal"))
        assert check.examples == ("user u01",)

    def test_a_split_by_time_is_temporal_also_where_times_tie_at_the_cut(self, make):
        times = [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [2, 3, 4, 5], [1, 3]]
        assert not check_split_parts(make(times=times, split="temporal")).has_fired

    def test_without_a_split_in_the_manifest_there_is_nothing_to_check(self, make):
        check = check_split_parts(make(split=None))
        assert (check.count, check.total) == (0, 0)


class TestTimeOrder:
    def test_a_time_that_goes_down_is_counted_with_its_user(self, make):
        check = check_time_order(make(timestamps=changed(ARRAYS.timestamps, 6, 0)))
        assert (check.count, check.total, check.examples) == (1, 4 + 4 + 3 + 1, ("user u01",))

    def test_equal_times_and_the_next_user_s_earlier_ones_are_fine(self, make):
        assert not check_time_order(make(timestamps=np.zeros_like(ARRAYS.timestamps))).has_fired
