"""Times in seconds, milliseconds and ISO-8601."""

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncrec.data.timestamps import parse_times, time_in_milliseconds, times_of_column
from syncrec.errors import ConfigError

NOON_MS = 1_577_966_400_000  # 2020-01-02T12:00:00Z


def milliseconds(*texts):
    return parse_times(pl.Series(list(texts), dtype=pl.String)).to_list()


@pytest.mark.parametrize(
    "text",
    [
        "1577966400",
        " 1577966400 ",
        "1577966400.0",
        "1.5779664e9",
        "1577966400000",
        "2020-01-02T12:00:00",
        "2020-01-02 12:00:00",
        "2020-01-02T12:00",
        "2020-01-02T12:00:00Z",
        "2020-01-02T12:00:00.000z",
        "2020-01-02T14:00:00+02:00",
        "2020-01-02T14:00:00+0200",
        "2020-01-02T10:00:00-02",
    ],
)
def test_every_notation_of_one_moment_gives_the_same_milliseconds(text):
    assert milliseconds(text) == [NOON_MS]


def test_a_date_alone_is_its_midnight_utc():
    assert milliseconds("2020-01-02") == [NOON_MS - 12 * 3600 * 1000]


def test_fractions_of_a_second_are_kept_to_the_millisecond():
    assert milliseconds("1577966400.1239", "2020-01-02T12:00:00.1239") == [NOON_MS + 123, NOON_MS + 123]


def test_numbers_from_1e11_on_are_milliseconds():
    assert milliseconds("99999999999", "100000000000") == [99_999_999_999_000, 100_000_000_000]


@pytest.mark.parametrize(
    "text", ["yesterday", "", " ", "nan", "inf", "-1", "-0.5", "1e14", "2020-13-01", "1969-12-31", "2020-01-02T25:00"]
)
def test_what_is_no_time_from_1970_on_is_null(text):
    assert milliseconds(text) == [None]


def test_notations_may_be_mixed_and_nulls_stay():
    assert milliseconds("0", None, "1970-01-01T00:00:02", "x") == [0, None, 2000, None]


@given(st.integers(0, 10**11 - 1), st.sampled_from([0, 2, -5]))
def test_iso_texts_of_any_zone_agree_with_the_standard_library(seconds, hours):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds % 4_000_000_000)
    zoned = moment.astimezone(timezone(timedelta(hours=hours)))
    assert milliseconds(zoned.isoformat(), str(int(moment.timestamp()))) == [int(moment.timestamp()) * 1000] * 2


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1577966400], pl.Int64),
        ([1577966400], pl.UInt32),
        ([1577966400.5], pl.Float64),
        ([1577966400000], pl.Int64),
        ([datetime(2020, 1, 2, 12, 0)], pl.Datetime("us")),
        ([datetime(2020, 1, 2, 12, 0, tzinfo=UTC)], pl.Datetime("ns", "UTC")),
    ],
)
def test_typed_columns_need_no_parsing(values, kind):
    column = pl.Series("t", values, dtype=kind)
    times = column.to_frame().select(times_of_column(pl.col("t"), column.dtype)).to_series()
    assert times.to_list() in ([NOON_MS], [NOON_MS + 500])


def test_bad_numbers_of_typed_columns_are_null():
    column = pl.Series("t", [float("nan"), -1.0, float("inf"), None, 1e15])
    times = column.to_frame().select(times_of_column(pl.col("t"), column.dtype)).to_series()
    assert times.to_list() == [None] * 5


def test_a_setting_that_is_no_time_is_named():
    with pytest.raises(ConfigError, match=r"test_from must be an ISO-8601 date, .* got 'soon'"):
        time_in_milliseconds("soon", "test_from")
