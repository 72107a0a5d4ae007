"""Events become impressions with or without a click, inside the experiment and its time, each user in one arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from syncrec.errors import DataError
from syncrec.experimentation.lifecycle import Experiment

__all__ = ["DAY_S", "Observed", "observe", "with_clicks"]

DAY_S = 86_400
_FIRST_FAULT = 500  # status of HTTP
_ANSWER = ("request_id", "item")


@dataclass(frozen=True)
class Observed:
    """What counts for the report.

    `impressions` has the columns of an event, `clicked` (0 or 1) and `day` (from 0, whole days since `start_s`);
    `requests` likewise, with `is_empty` and `is_error` (0, 1 or null) instead of `clicked`. `left_out` counts what does
    not count, by reason. `before` are all impressions before the experiment began, whoever answered.
    """

    impressions: pl.DataFrame
    requests: pl.DataFrame
    before: pl.DataFrame
    start_s: float
    left_out: Mapping[str, int]
    num_days: int

    @property
    def users_by_arm(self) -> dict[str, int]:
        """Users with an impression or request, by arm."""
        counted = _users(self.impressions, self.requests).group_by("arm").len()
        return dict(zip(counted["arm"], counted["len"], strict=True))


def with_clicks(events: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The impressions of a log with `clicked` (0 or 1), each once, and the number of clicks that belong to none.

    Several clicks on one impression count once. Impressions without a request id are left out: no click finds them.
    """
    events = _once(events)
    shown = events.filter(pl.col("kind") == "impression", pl.col("request_id").is_not_null())
    shown = shown.unique(_ANSWER, keep="first", maintain_order=True)
    clicks = events.filter(pl.col("kind") == "click").unique(_ANSWER, maintain_order=True)
    matched = clicks.select(_ANSWER).with_columns(clicked=pl.lit(1.0))
    joined = shown.join(matched, on=_ANSWER, how="left", maintain_order="left")
    num_stray = clicks.join(shown, on=_ANSWER, how="anti").height
    return joined.with_columns(pl.col("clicked").fill_null(0.0)), num_stray


def _once(events: pl.DataFrame) -> pl.DataFrame:
    """Events without those that repeat an event id."""
    is_first = pl.col("event_id").is_null() | pl.col("event_id").is_first_distinct()
    return events.filter(is_first)


def observe(experiment: Experiment, events: pl.DataFrame) -> Observed:
    """What of a log counts for the experiment's report.

    Raises:
        DataError: nothing does.
    """
    shown, num_stray = with_clicks(events)
    requests = _requests(events, shown)
    both = [_in_experiment(experiment, frame) for frame in (shown, requests)]
    mixed = _users(*both).group_by("user").len().filter(pl.col("len") > 1).select("user")
    shown_alone, requests_alone = (frame.join(mixed, on="user", how="anti", maintain_order="left") for frame in both)
    if not shown_alone.height:
        raise DataError(
            f"the log has no impression of {experiment.definition.name!r} (arms "
            f"{', '.join(experiment.definition.arms)}) in its time; {shown.height:,} impressions are outside of it"
        )
    start_s = _start(experiment, shown_alone)
    left_out = {
        "impressions outside the experiment or its time": shown.height - both[0].height,
        "clicks without their impression": num_stray,
        "users seen in several arms": mixed.height,
    }
    shown_by_day, requests_by_day = (_with_day(frame, start_s) for frame in (shown_alone, requests_alone))
    num_days = int(shown_by_day.select(pl.col("day").max()).item()) + 1
    before = shown.filter(pl.col("timestamp") < start_s)
    return Observed(shown_by_day, requests_by_day, before, start_s, left_out, num_days)


def _requests(events: pl.DataFrame, shown: pl.DataFrame) -> pl.DataFrame:
    """One a request, user and domain (a batch has several), that of the service itself where there is one.

    What failed is an error, and neither empty nor not.
    """
    requests = _once(events).filter(pl.col("kind") == "request")
    requests = requests.sort(pl.col("status").is_null(), maintain_order=True)
    requests = requests.unique(("request_id", "user", "domain"), keep="first", maintain_order=True)
    is_error = (pl.col("status") >= _FIRST_FAULT).cast(pl.Float64)
    has_shown = pl.col("request_id").is_in(shown["request_id"].unique().implode())
    is_empty = pl.coalesce(pl.col("num_items") == 0, ~has_shown)
    known = pl.when(is_error.fill_null(0.0) == 0).then(is_empty.cast(pl.Float64))
    return requests.with_columns(is_error=is_error, is_empty=known)


def _in_experiment(experiment: Experiment, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of the experiment's arms from its start to its stop, planned or real."""
    definition, state = experiment.definition, experiment.state
    begins = _seconds([time for time in (definition.start, state.started) if time])
    ends = _seconds([time for time in (definition.end, state.stopped) if time])
    time = pl.col("timestamp")
    is_in = pl.col("arm").is_in(list(definition.arms))
    is_in = is_in & (time >= max(begins)) if begins else is_in
    return frame.filter(is_in & (time < min(ends)) if ends else is_in)


def _seconds(times: Sequence[datetime]) -> list[float]:
    return [time.timestamp() for time in times]


def _start(experiment: Experiment, shown: pl.DataFrame) -> float:
    times = [time for time in (experiment.definition.start, experiment.state.started) if time]
    return max(_seconds(times)) if times else float(shown.select(pl.col("timestamp").min()).item())


def _with_day(frame: pl.DataFrame, start_s: float) -> pl.DataFrame:
    return frame.with_columns(day=((pl.col("timestamp") - start_s) // DAY_S).cast(pl.Int64))


def _users(*frames: pl.DataFrame) -> pl.DataFrame:
    """Every pair (arm, user) once."""
    return pl.concat([frame.select("arm", "user") for frame in frames]).unique()
