"""A policy judged from a log, before any user sees it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from syncrec.errors import DataError
from syncrec.experimentation.direct_model import add_predictions, with_fold
from syncrec.experimentation.impressions import with_clicks
from syncrec.experimentation.off_policy import (
    Decisions,
    PolicyEstimate,
    WeightCheck,
    check_weights,
    estimate_policy,
)
from syncrec.experimentation.report import json_content
from syncrec.reports.tables import Table, percentages

__all__ = ["REPORT_KIND", "OfflineReport", "judge_policy", "logged_decisions", "offline_table"]

REPORT_KIND = "off-policy-report"

_PLACE = ["user", "domain", "position"]


@dataclass(frozen=True)
class OfflineReport:
    """Estimates of one policy, by estimator, and what is to be said about them."""

    estimates: Mapping[str, PolicyEstimate]
    weights: WeightCheck
    left_out: Mapping[str, int]

    @property
    def warnings(self) -> list[str]:
        """What makes the estimates doubtful, and what was left out."""
        left_out = [f"left out: {count:,} {what}" for what, count in self.left_out.items() if count]
        return [*self.weights.warnings(), *left_out]

    def content(self) -> dict[str, Any]:
        """The report as JSON; what is unknown or infinite is null."""
        parts = {"estimates": self.estimates, "weights": self.weights, "left_out": self.left_out}
        return {"kind": REPORT_KIND, "schema_version": 1, **json_content(parts), "warnings": self.warnings}


def judge_policy(policy: pl.DataFrame, events: pl.DataFrame) -> OfflineReport:
    """Estimates of the click-through rate that `policy` (as of `read_policies`) would have had.

    Raises:
        DataError: no logged impression has a propensity and a place for which the policy says something.
    """
    decisions, left_out = logged_decisions(policy, events)
    return OfflineReport(estimate_policy(decisions), check_weights(decisions), left_out)


def logged_decisions(policy: pl.DataFrame, events: pl.DataFrame) -> tuple[Decisions, Mapping[str, int]]:
    """The logged impressions for which the policy says something, and how many were left out, by reason.

    Raises:
        DataError: there are none.
    """
    shown, num_stray = with_clicks(events)
    policy = policy.join(shown, on="user", how="semi", maintain_order="left")
    known = shown.filter(pl.col("propensity").is_not_null()).with_columns(
        pl.col("position").cast(pl.Int64).fill_null(1)
    )
    covered = _with_mass(known, policy).filter(pl.col("mass").is_not_null())
    left_out = {
        "impressions without a propensity": shown.height - known.height,
        "impressions in places of which the policy says nothing": known.height - covered.height,
        "clicks without their impression": num_stray,
    }
    if not covered.height:
        reasons = ", ".join(f"{count:,} {what}" for what, count in left_out.items() if count)
        raise DataError(f"nothing in the log can judge the policy: {reasons or 'it has no impressions'}")
    predicted = add_predictions(with_fold(_with_probability(covered, policy)), with_fold(policy))
    users = np.unique(predicted["user"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    columns = ("clicked", "propensity", "probability", "mass", "predicted", "expected")
    return Decisions(users, *(predicted[name].to_numpy() for name in columns)), left_out


def _with_mass(shown: pl.DataFrame, policy: pl.DataFrame) -> pl.DataFrame:
    """`shown` with the sum of the policy's probabilities in each place, null where it says nothing."""
    return _joined(shown, policy.group_by(_PLACE).agg(mass=pl.col("probability").sum()), _PLACE, "mass")


def _with_probability(shown: pl.DataFrame, policy: pl.DataFrame) -> pl.DataFrame:
    """`shown` with the policy's probability of the item shown."""
    joined = _joined(shown, policy.select(*_PLACE, "item", "probability"), [*_PLACE, "item"], "probability")
    return joined.with_columns(pl.col("probability").fill_null(0.0))


def _joined(shown: pl.DataFrame, table: pl.DataFrame, keys: list[str], value: str) -> pl.DataFrame:
    """`value` by place, else from rows that are for any place."""
    anywhere = table.filter(pl.col("position").is_null()).drop("position").rename({value: "anywhere"})
    other = [key for key in keys if key != "position"]
    here = shown.join(table, on=keys, how="left", maintain_order="left")
    both = here.join(anywhere, on=other, how="left", maintain_order="left")
    return both.with_columns(pl.coalesce(value, "anywhere").alias(value)).drop("anywhere")


def offline_table(report: OfflineReport) -> Table:
    """The estimates, a row each."""
    rows = tuple(_rows(report.estimates))
    size = f"{report.weights.effective_sample_size:,.0f} effective of {report.weights.num_decisions:,} decisions"
    columns = ("estimator", "CTR", "95 % interval", "against the log", "95 % interval")
    return Table(f"Off-policy estimates, {size}", columns, (rows[:1], rows[1:]))


def _rows(estimates: Mapping[str, PolicyEstimate]) -> Iterator[tuple[str, ...]]:
    for name, one in estimates.items():
        lift = ("", "") if name == "logged" else tuple(percentages(one.lift))
        yield name, f"{one.ctr.estimate:.4f}", f"{one.ctr.low:.4f} to {one.ctr.high:.4f}", *lift
