"""The primary comparison with less noise: what users did before the experiment is taken out of it (CUPED)."""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from syncrec.experimentation.comparison import UNKNOWN, interval_of, is_enough, relative
from syncrec.experimentation.definition import Definition
from syncrec.experimentation.impressions import Observed
from syncrec.experimentation.measures import Measure
from syncrec.stats import Interval, Past, adjusted_log_ratio, log_ratio_of_rates, sequential_p_value

__all__ = ["AdjustedLift", "adjusted_lifts"]


@dataclass(frozen=True)
class AdjustedLift:
    """The lift of an arm in all domains, adjusted; `lift` and `p_value` hold at all looks together.

    `noise_left`: the variance of the lift's logarithm as a share of what it is without adjustment, NaN if unknown.
    `known_share`: of the users of arm and control, those who were shown something before. `weight`: see `stats.Past`.
    """

    arm: str
    lift: Interval
    p_value: float
    noise_left: float
    known_share: float
    weight: float


def adjusted_lifts(definition: Definition, observed: Observed, clicks: Measure) -> list[AdjustedLift]:
    """Of every arm but the control; none if the time before is unknown, or says nothing that lasts."""
    scores, weight = _scores(observed.before)
    if scores.height < definition.min_users or not weight:
        return []
    arms = [arm for arm in definition.arms if arm != definition.control_arm]
    return [_adjusted(definition, clicks, arm, scores, weight) for arm in arms]


def _scores(before: pl.DataFrame) -> tuple[pl.DataFrame, float]:
    """`user` and `score` of all who were shown something before, and the weight of a score."""
    middle = before.select(pl.col("timestamp").median()).item()
    if middle is None:
        return pl.DataFrame({"user": [], "score": []}, schema={"user": pl.String, "score": pl.Float64}), 0.0
    halves = enumerate((pl.col("timestamp") <= middle, pl.col("timestamp") > middle))
    sums = [
        total.alias(f"{name}{half}")
        for half, is_in in halves
        for name, total in (("y", pl.col("clicked").filter(is_in).sum()), ("x", is_in.sum().cast(pl.Float64)))
    ]
    by_user = before.group_by("user", maintain_order=True).agg(sums)
    y, x = (np.stack([by_user[f"{name}{half}"].to_numpy() for half in (0, 1)]) for name in ("y", "x"))
    past = Past.of_halves(y, x)
    return by_user.select("user", score=pl.lit(past.scores)), past.weight


def _adjusted(definition: Definition, clicks: Measure, arm: str, scores: pl.DataFrame, weight: float) -> AdjustedLift:
    both = [clicks.sums_with_scores(part, scores) for part in (arm, definition.control_arm)]
    users = clicks.cells.filter(pl.col("arm").is_in([arm, definition.control_arm])).select("user").unique()
    known_share = users.join(scores, on="user", how="semi").height / max(users.height, 1)
    if not all(is_enough(definition, part.ratio) for part in both):
        return AdjustedLift(arm, UNKNOWN, 1.0, math.nan, known_share, weight)
    plain, lift = log_ratio_of_rates(*(part.ratio for part in both)), adjusted_log_ratio(both[0], both[1], weight)
    return AdjustedLift(
        arm,
        relative(interval_of(lift, definition.lift_scale, definition.confidence)),
        float(sequential_p_value(lift, definition.lift_scale)),
        float(lift.error / plain.error) ** 2,
        known_share,
        weight,
    )
