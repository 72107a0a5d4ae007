"""Popularity, cold targets, ties, repeats and training after the test."""

import numpy as np
import pytest

import syncrec
from prepared import CLEAN, arrays_of
from syncrec.data.checks.duplicates import check_duplicate_events
from syncrec.data.checks.leakage import (
    check_cold_targets,
    check_future_training,
    check_popularity,
    check_repeated_targets,
    check_ties_at_split,
    check_ties_by_domain,
)
from syncrec.data.facts import dataset_facts

ARRAYS = arrays_of(CLEAN)


class TestPopularity:
    def test_counts_over_all_events_are_found_and_named_as_such(self, make):
        check = check_popularity(make(item_counts=np.bincount(ARRAYS.items, minlength=10)))
        assert check.is_error
        assert (check.count, check.total) == (4, 10)  # items 0, 2, 6 and 7 are targets
        assert "over all events" in check.detail

    def test_one_wrong_count_is_found_without_that_guess(self, make):
        counts = ARRAYS.item_counts.copy()
        counts[7] += 1
        check = check_popularity(make(item_counts=counts))
        assert (check.count, check.examples, check.detail) == (1, ("b1 (stored 2)",), "")

    def test_counts_over_training_events_are_fine(self, clean):
        assert not check_popularity(clean).has_fired


class TestColdTargets:
    def test_targets_without_a_training_event_are_counted_by_part(self, make):
        check = check_cold_targets(make([[0, 1, 9, 8], [0, 1, 2, 9]]))
        assert (check.count, check.total) == (4, 4)
        assert check.detail == "validation 2, test 2, of which 1 have an item that is in test alone"

    def test_targets_that_training_knows_are_fine(self, clean):
        assert not check_cold_targets(clean).has_fired


def prepared_again(tmp_path, step):
    """Users whose fourth event has the item of the third, `step` milliseconds after it."""
    times = [0, 5000, 9000, 9000 + step, 20_000]
    rows = [
        f"u{u},i{min(n, 2) if n < 4 else n},A,{1_700_000_000_000 + t}" for u in range(3) for n, t in enumerate(times)
    ]
    (tmp_path / f"again-{step}.csv").write_text("\n".join(["user,item,domain,timestamp", *rows]) + "\n")
    return syncrec.prepare(tmp_path / f"again-{step}.csv", out=tmp_path / f"again-{step}")


class TestTies:
    def test_a_target_that_ties_with_the_event_before_is_counted(self, make):
        times = [[1, 1, 1, 2, 2], [1, 2, 3, 3, 3], [1, 2, 3, 4], [1, 1]]
        check = check_ties_at_split(make(times=times))
        assert (check.count, check.total) == (1 + 2, 6)

    def test_events_that_finer_times_have_put_in_order_do_not_tie(self, tmp_path):
        def prepared(name, step):
            rows = [f"u{u},i{n},A,{1_700_000_000_000 + step * n}" for u in range(3) for n in range(6)]
            (tmp_path / f"{name}.csv").write_text("\n".join(["user,item,domain,timestamp", *rows]) + "\n")
            return syncrec.prepare(tmp_path / f"{name}.csv", out=tmp_path / name)

        fine, equal = prepared("fine", 100), prepared("equal", 0)
        assert not check_ties_at_split(fine).has_fired
        assert check_ties_at_split(equal).count == 6
        assert dataset_facts(fine).ties.tied == dataset_facts(fine).ties.tied_test == 0
        assert dataset_facts(equal).ties.tied_test == 3
        assert not check_duplicate_events(prepared_again(tmp_path, 100)).has_fired
        assert check_duplicate_events(prepared_again(tmp_path, 0)).count == 3

    def test_ties_inside_training_and_with_another_user_are_not_at_the_split(self, make):
        times = [[1, 1, 1, 2, 3], [3, 3, 3, 4, 5], [5, 5, 6, 7], [7, 7]]
        assert not check_ties_at_split(make(times=times)).has_fired


class TestTiesByDomain:
    """Every user has five events: two at one time in two domains, `turned` of them in the other order, then three."""

    @pytest.fixture
    def prepared(self, tmp_path):
        def build(users, turned, step=0, **settings):
            rows = []
            for u in range(users):
                pair = ("films", "books") if u < turned else ("books", "films")
                rows += [f"u{u},{d[0]}{n},{d},{1_700_000_000_000 + step * n}" for n, d in enumerate(pair)]
                rows += [f"u{u},b{n},books,{1_700_000_000_000 + 10_000 * n}" for n in range(2, 5)]
            log = tmp_path / f"{users}-{turned}-{step}.csv"
            log.write_text("\n".join(["user,item,domain,timestamp", *rows]) + "\n")
            return syncrec.prepare(log, out=log.with_suffix(f".{len(settings)}"), **settings)

        return build

    def test_a_log_sorted_by_domain_where_times_are_equal_is_found(self, prepared):
        check = check_ties_by_domain(prepared(users=100, turned=5))
        assert (check.count, check.total, check.examples) == (95, 100, ("books before films (in 95 of 100)",))
        assert check.has_fired and not check.is_error
        shuffled = check_ties_by_domain(prepared(users=100, turned=5, ties="shuffle"))
        assert (shuffled.count, shuffled.total) == (0, 100)

    def test_prepare_tells_of_it(self, prepared):
        for ties, num_notes in (("input", 1), ("shuffle", 0)):
            lines = []
            prepared(users=100, turned=5, ties=ties, overwrite=True, report=lines.append)
            notes = [line for line in lines if line.startswith("note: where times are equal")]
            assert len(notes) == num_notes
            assert all("books before films (in 95 of 100)" in note and "--ties shuffle" in note for note in notes)

    def test_an_order_that_differs_is_that_of_people(self, prepared):
        assert not check_ties_by_domain(prepared(users=100, turned=6)).has_fired

    def test_few_ties_show_nothing(self, prepared):
        assert check_ties_by_domain(prepared(users=30, turned=0)).count == 30
        assert check_ties_by_domain(prepared(users=29, turned=0)).count == 0

    def test_finer_times_are_an_order(self, prepared):
        check = check_ties_by_domain(prepared(users=100, turned=0, step=100))
        assert (check.count, check.total) == (0, 0)


class TestRepeatedTargets:
    def test_targets_the_user_had_before_are_counted(self, make):
        histories = [[0, 1, 2, 0, 2], [0, 1, 2, 6, 7], [3, 4, 5, 5]]
        check = check_repeated_targets(make(histories))
        assert (check.count, check.total) == (3, 6)

    def test_repeats_inside_training_and_items_of_others_are_no_repeated_targets(self, make):
        assert not check_repeated_targets(make([[0, 0, 0, 1, 2], [3, 3, 0, 2, 1]])).has_fired


class TestFutureTraining:
    @pytest.mark.parametrize("seed", range(3))
    def test_it_is_the_mean_over_test_events_of_later_training_events(self, make, seed):
        random = np.random.default_rng(seed)
        times = [sorted(random.integers(0, 30, len(history)).tolist()) for history in CLEAN]
        check = check_future_training(make(times=times))
        trained = [t for row in times for t in (row[:-2] if len(row) > 2 else row)]
        tested = [row[-1] for row in times if len(row) > 2]
        pairs = sum(t > test for t in trained for test in tested)
        assert (check.count, check.total) == (-(-pairs // len(tested)), len(trained))

    def test_training_before_every_test_event_is_fine(self, make):
        times = [[1, 2, 3, 8, 9], [1, 2, 3, 8, 9], [1, 2, 8, 9], [1, 9]]
        assert not check_future_training(make(times=times)).has_fired
