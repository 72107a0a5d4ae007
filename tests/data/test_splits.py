"""Leave-one-out and temporal splits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncrec.config import PrepareConfig
from syncrec.data import splits
from syncrec.data.splits import check_split_settings, leave_one_out, split_events, temporal
from syncrec.errors import ConfigError, DataError

# Users with 3, 2 and 4 events.
OFFSETS = np.array([0, 3, 5, 9])
TIMES = np.array([10, 20, 30, 10, 40, 5, 10, 20, 40])


def parts(cuts):
    """(training, validation, test) event indices of each user."""
    bounds = zip(OFFSETS, cuts.train_end, cuts.validation_end, OFFSETS[1:], strict=False)
    return [(list(range(a, b)), list(range(b, c)), list(range(c, d))) for a, b, c, d in bounds]


def config(**settings):
    return PrepareConfig(split="temporal", **settings)


def test_leave_one_out_takes_the_last_two_events_of_users_with_three():
    assert parts(leave_one_out(OFFSETS)) == [([0], [1], [2]), ([3, 4], [], []), ([5, 6], [7], [8])]


def test_temporal_cuts_every_user_at_the_same_times():
    cuts = temporal(OFFSETS, TIMES, validation_from=20, test_from=40)
    assert parts(cuts) == [([0], [1, 2], []), ([3], [], [4]), ([5, 6], [7], [8])]


def test_a_time_may_be_a_fraction_of_the_events_and_ties_go_to_the_later_part():
    # In time order: 5 10 10 10 20 20 30 40 40; the events of places 4 and 7 come at 20 and 40.
    by_fraction = split_events(OFFSETS, TIMES, config(validation_from="0.5", test_from="0.8"))
    assert parts(by_fraction) == parts(temporal(OFFSETS, TIMES, 20, 40))


TIMES_MS = st.one_of(st.integers(0, 3), st.integers(0, 10**14 - 1), st.sampled_from([65535, 65536, 2**32 - 1, 2**32]))


@given(st.lists(st.lists(TIMES_MS, max_size=9), min_size=1, max_size=5), st.integers(1, 7), st.data())
def test_chunks_change_nothing_of_counts_and_places(histories, chunk, data):
    times = np.array([time for history in histories for time in sorted(history)], dtype=np.int64)
    offsets = np.cumsum([0, *map(len, histories)])
    limit = data.draw(TIMES_MS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "CHUNK_EVENTS", chunk)
        counts = splits.count_before(offsets, times, limit)
        smallest = [splits._smallest(times, place) for place in range(len(times))]
    assert counts.tolist() == [sum(time < limit for time in history) for history in histories]
    assert smallest == sorted(times.tolist())


def test_times_may_be_dates_or_seconds():
    times = TIMES * 1000
    by_seconds = split_events(OFFSETS, times, config(validation_from="20", test_from="1970-01-01T00:00:40"))
    assert parts(by_seconds) == parts(temporal(OFFSETS, TIMES, 20, 40))


@pytest.mark.parametrize(
    ("validation_from", "test_from", "part"), [(1, 40, "training"), (31, 35, "validation"), (20, 41, "test")]
)
def test_an_empty_part_is_named_with_the_time_range(validation_from, test_from, part):
    with pytest.raises(DataError, match=f"no {part} events; the log runs from 1970-01-01T00:00:05 to .*00:00:40"):
        temporal(OFFSETS, TIMES * 1000, validation_from * 1000, test_from * 1000)


def test_validation_must_begin_before_test():
    with pytest.raises(ConfigError, match="validation_from must be before test_from, got 30 and 20"):
        split_events(OFFSETS, TIMES * 1000, config(validation_from="30", test_from="20"))


def test_fractions_that_fall_on_one_time_are_told_apart_from_a_wrong_order():
    # In time order: 5 10 10 10 20 20 30 40 40; places 1 and 3.
    with pytest.raises(ConfigError) as caught:
        split_events(OFFSETS, TIMES * 1000, config(validation_from="0.2", test_from="0.4"))
    assert "but 0.2 and 0.4 both are 1970-01-01T00:00:10, a time that many events have; name two dates" in str(
        caught.value
    )


def test_too_few_events_for_leave_one_out_are_refused_with_the_longest_history():
    with pytest.raises(DataError, match="no user has 3, the longest history has 2; use the temporal split"):
        leave_one_out(np.array([0, 2, 3]))


@pytest.mark.parametrize("settings", [{}, {"validation_from": "0.8"}, {"test_from": "0.9"}])
def test_a_temporal_split_needs_both_times(settings):
    with pytest.raises(ConfigError, match=r"split = temporal needs (validation|test)_from: a date"):
        check_split_settings(config(**settings), print)


def test_a_time_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"test_from must be an ISO-8601 date, .* got 'soon'"):
        check_split_settings(config(validation_from="0.5", test_from="soon"), print)


def test_times_without_effect_are_mentioned():
    lines = []
    check_split_settings(PrepareConfig(test_from="0.9"), lines.append)
    assert lines == ["note: test_from has no effect with split = leave-one-out"]
