"""Times in many notations become milliseconds since 1970-01-01 UTC.

A number below 1e11 is seconds (1e11 s is the year 5138), one from there to 1e14 is milliseconds (1e11 ms is March
1973); fractions are kept to the millisecond. Everything else must be ISO-8601: a date, or a date and a time with or
without fraction and zone; without a zone it is UTC. Each value is looked at by itself. Times before 1970 are refused.
"""

import polars as pl

from syncrec.errors import ConfigError, DataError

__all__ = ["parse_times", "time_in_milliseconds", "times_of_column"]

_FIRST_MILLISECONDS = 10**11
_LIMIT = 10**14
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_ZONE = r"([Zz]|[+-]\d{2}(:?\d{2})?)$"


def times_of_column(column: pl.Expr, kind: pl.DataType, place: str = "timestamp") -> pl.Expr:
    """Milliseconds (int64) of a column of type `kind`; null where it is no time, or needs `parse_times`.

    Raises:
        DataError: values of that type are no times; after `place`, which names file and column.
    """
    if not (kind.is_numeric() or kind in (pl.String, pl.Date, pl.Datetime, pl.Null)):
        raise DataError(f"{place} has the type {kind}; times are numbers, text, Date or Datetime: convert the column")
    if isinstance(kind, pl.Datetime):
        return _not_negative(column.dt.epoch("ms"))
    if kind == pl.Date:
        return _not_negative(column.cast(pl.Datetime("ms")).dt.epoch("ms"))
    if kind.is_float():
        return _from_numbers(column.cast(pl.Float64))
    return _from_numbers(column.cast(pl.Int64, strict=False))


def parse_times(texts: pl.Series) -> pl.Series:
    """Milliseconds (int64) of each text, null where it is none; slower than `times_of_column`, and complete."""
    frame = texts.str.strip_chars().alias("text").to_frame()
    times = frame.select(_from_numbers(pl.col("text").cast(pl.Float64, strict=False))).to_series()
    unknown = times.is_null()
    if unknown.any():
        dates = _parse_iso(frame.filter(unknown))
        times = times.scatter(unknown.arg_true(), dates)
    return times.rename("time")


def time_in_milliseconds(text: str, setting: str) -> int:
    """The time that the setting named `setting` gives.

    Raises:
        ConfigError: it is neither number nor ISO-8601 date.
    """
    value = parse_times(pl.Series([text], dtype=pl.String))[0]
    if value is None:
        raise ConfigError(f"{setting} must be an ISO-8601 date, epoch seconds or a fraction below 1, got {text!r}")
    return int(value)


def _from_numbers(numbers: pl.Expr) -> pl.Expr:
    in_range = (numbers >= 0) & (numbers < _LIMIT)
    milliseconds = pl.when(numbers < _FIRST_MILLISECONDS).then(numbers * 1000).otherwise(numbers)
    return pl.when(in_range).then(milliseconds).floor().cast(pl.Int64, strict=False)


def _not_negative(times: pl.Expr) -> pl.Expr:
    return pl.when(times >= 0).then(times)


def _parse_iso(frame: pl.DataFrame) -> pl.Series:
    """Milliseconds of the ISO-8601 texts in the column `text`, null for others."""
    text = pl.col("text")
    full = pl.when(text.str.contains(_DATE)).then(text + "T00:00:00").otherwise(text.str.replace(r"^(.{10}) ", "${1}T"))
    zoned = pl.when(full.str.contains(_ZONE)).then(full.str.replace("[Zz]$", "+00:00")).otherwise(full + "+00:00")
    candidates = [
        zoned.str.to_datetime(form, time_unit="ms", time_zone="UTC", strict=False).dt.epoch("ms")
        for form in ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
    ]
    return frame.select(_not_negative(pl.coalesce(candidates))).to_series()
