"""Rates by arm, domain and day, as sums over users."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from syncrec.experimentation.definition import GuardrailMetric
from syncrec.experimentation.impressions import Observed
from syncrec.stats import CovariateSums, RatioSums

__all__ = ["Measure", "measure"]

_COLUMNS = {"ctr": "clicked", "empty_answers": "is_empty", "errors": "is_error", "latency_ms": "latency_ms"}


@dataclass(frozen=True)
class Measure:
    """A metric of every user; `cells` has arm, user, domain, day, and sums `y` (clicks) and `x` (impressions)."""

    cells: pl.DataFrame

    def sums(self, arm: str, domain: str | None = None) -> RatioSums:
        """Of the users of `arm`, in one domain or all."""
        chosen = self.cells.filter(pl.col("arm") == arm)
        if domain is not None:
            chosen = chosen.filter(pl.col("domain") == domain)
        by_user = chosen.group_by("user", maintain_order=True).agg(pl.col("y", "x").sum())
        return RatioSums.of_units(by_user["y"].to_numpy(), by_user["x"].to_numpy())

    def sums_with_scores(self, arm: str, scores: pl.DataFrame) -> CovariateSums:
        """Of the users of `arm` in all domains, with their `score` in the frame `scores` (`user`, `score`; else 0)."""
        chosen = self.cells.filter(pl.col("arm") == arm)
        by_user = chosen.group_by("user", maintain_order=True).agg(pl.col("y", "x").sum())
        known = by_user.join(scores, on="user", how="left", maintain_order="left").with_columns(
            pl.col("score").fill_null(0.0)
        )
        return CovariateSums.of_units(*(known[name].to_numpy() for name in ("y", "x", "score")))

    def sums_by_day(self, arm: str, num_days: int) -> list[RatioSums]:
        """Of the users of `arm` in all domains, up to the end of each day."""
        chosen = self.cells.filter(pl.col("arm") == arm)
        users = np.unique(chosen["user"].to_numpy(), return_inverse=True)[1]
        day, new_y, new_x = (chosen[name].to_numpy() for name in ("day", "y", "x"))
        y, x = np.zeros(users.max(initial=-1) + 1), np.zeros(users.max(initial=-1) + 1)
        found = []
        for today in range(num_days):
            np.add.at(y, users[day == today], new_y[day == today])
            np.add.at(x, users[day == today], new_x[day == today])
            found.append(RatioSums.of_units(y, x))
        return found

    @property
    def domains(self) -> list[str]:
        """In alphabetical order."""
        return sorted(self.cells["domain"].unique().to_list())


def measure(observed: Observed, metric: GuardrailMetric = "ctr") -> Measure:
    """Click-through rate (clicks / impressions), share of empty or failed answers, or mean latency (over requests)."""
    frame = observed.impressions if metric == "ctr" else observed.requests
    column = _COLUMNS[metric]
    known = frame.filter(pl.col(column).is_not_null())
    # Sums of floats depend on their order: kept, so that the same log gives the same digits.
    cells = known.group_by("arm", "user", "domain", "day", maintain_order=True)
    return Measure(cells.agg(y=pl.col(column).sum(), x=pl.len().cast(pl.Float64)))
