"""Users, events and items that are there twice."""

from dataclasses import replace

import pytest

from prepared import CLEAN, arrays_of, write
from syncrec.data.checks.duplicates import (
    check_duplicate_events,
    check_identical_histories,
    check_item_ids,
    check_user_ids,
)


class TestUserIds:
    def test_ids_equal_but_for_spaces_and_case_are_found(self, make):
        check = check_user_ids(make(users=[" ann", "Ann", "ann", "bob"]))
        assert (check.count, check.total) == (3, 4)
        assert check.examples == ("' ann'", "'Ann'", "'ann'")

    def test_case_is_folded_beyond_ascii(self, make):
        assert check_user_ids(make(users=["STRASSE", "straße", "x", "y"])).count == 2

    def test_different_ids_are_fine(self, clean):
        assert not check_user_ids(clean).has_fired


class TestIdenticalHistories:
    def test_users_with_the_same_items_in_the_same_order_are_found(self, make):
        check = check_identical_histories(make([[0, 1, 2, 3, 4], [5, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]))
        assert (check.count, check.total, check.examples) == (3, 4, ("user u00", "user u02", "user u03"))

    @pytest.mark.parametrize(
        "histories",
        [
            [[0, 1, 2, 3, 4], [1, 0, 2, 3, 4]],  # another order
            [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]],  # the beginning of another
            [[0, 1, 2, 3], [0, 1, 2, 3]],  # too short to mean anything
        ],
    )
    def test_order_and_length_tell_histories_apart_and_short_ones_do_not_count(self, make, histories):
        assert not check_identical_histories(make(histories)).has_fired


class TestDuplicateEvents:
    def test_a_copy_is_found_also_with_other_events_of_that_time_between(self, make):
        times = [[1, 2, 2, 2, 3], [1, 1, 1, 2]]
        check = check_duplicate_events(make([[0, 1, 2, 1, 3], [4, 4, 4, 5]], times))
        assert (check.count, check.total, check.examples) == (3, 9, ("user u00",))

    def test_the_same_item_at_another_time_or_by_another_user_is_fine(self, make):
        times = [[1, 2, 3, 4], [1, 2, 3, 4]]
        assert not check_duplicate_events(make([[0, 0, 1, 0], [0, 0, 1, 2]], times)).has_fired


class TestItemIds:
    def ids(self, tmp_path, first, second):
        arrays = replace(arrays_of(CLEAN), items_of_domain=(first, second))
        exact, similar = check_item_ids(write(tmp_path / "ids", arrays))
        return exact, similar

    def test_one_id_in_two_domains_is_an_error(self, tmp_path):
        exact, similar = self.ids(tmp_path, ["a", "b", "c", "d", "e", "x"], ["f", "g", "h", "x"])
        assert exact.is_error
        assert (exact.count, exact.total, exact.examples, similar.count) == (1, 10, ("'x'",), 0)

    def test_ids_that_differ_by_case_and_spaces_are_a_warning(self, tmp_path):
        exact, similar = self.ids(tmp_path, ["B1", "b", "c", "d", "e", "x"], ["b1 ", "g", "h", "i"])
        assert (exact.count, similar.count, similar.examples) == (0, 1, ("'B1' and 'b1 '",))

    def test_similar_ids_inside_one_domain_are_no_matter_of_two(self, tmp_path):
        exact, similar = self.ids(tmp_path, ["B", "b", "c", "d", "e", "x"], ["f", "g", "h", "i"])
        assert (exact.count, similar.count) == (0, 0)
