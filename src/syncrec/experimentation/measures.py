"""Rates by arm, domain and day, as sums over users."""

from dataclasses import dataclass

import polars as pl

from syncrec.experimentation.definition import GuardrailMetric
from syncrec.experimentation.impressions import Observed
from syncrec.stats import RatioSums

__all__ = ["Measure", "measure"]

_COLUMNS = {"ctr": "clicked", "empty_answers": "is_empty", "latency_ms": "latency_ms"}


@dataclass(frozen=True)
class Measure:
    """A metric of every user; `cells` has arm, user, domain, day, and sums `y` (clicks) and `x` (impressions)."""

    cells: pl.DataFrame

    def sums(self, arm: str, domain: str | None = None, num_days: int | None = None) -> RatioSums:
        """Of the users of `arm`, in one domain or all, in the first days or all."""
        chosen = self.cells.filter(pl.col("arm") == arm)
        if domain is not None:
            chosen = chosen.filter(pl.col("domain") == domain)
        if num_days is not None:
            chosen = chosen.filter(pl.col("day") < num_days)
        by_user = chosen.group_by("user", maintain_order=True).agg(pl.col("y", "x").sum())
        return RatioSums.of_units(by_user["y"].to_numpy(), by_user["x"].to_numpy())

    @property
    def domains(self) -> list[str]:
        """In alphabetical order."""
        return sorted(self.cells["domain"].unique().to_list())


def measure(observed: Observed, metric: GuardrailMetric = "ctr") -> Measure:
    """Click-through rate (clicks / impressions), share of empty answers, or mean latency (over requests)."""
    frame = observed.impressions if metric == "ctr" else observed.requests
    column = _COLUMNS[metric]
    known = frame.filter(pl.col(column).is_not_null())
    keys = ["arm", "user", "domain", "day"]
    cells = known.group_by(keys).agg(y=pl.col(column).sum(), x=pl.len().cast(pl.Float64))
    # Sums of floats depend on their order: sorted, the same log gives the same digits.
    return Measure(cells.sort(keys))
