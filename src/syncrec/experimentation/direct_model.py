"""A simple model of clicks, for the doubly robust estimate: the rate of the place, times the appeal of the item.

The rate of a place is that of (domain, position), drawn towards the rate of the domain by `PLACE_PRIOR` impressions.
The appeal of an item is its clicks over those expected from the places it was shown in, drawn towards 1 by
`ITEM_PRIOR` expected clicks. It is fitted on one half of the users and used on the other half and vice versa
(cross-fitting, as in Chernozhukov et al. 2018), so that no user's clicks speak for themselves.
"""

import polars as pl

from syncrec.experimentation.assignment import user_fraction

__all__ = ["ITEM_PRIOR", "PLACE_PRIOR", "add_predictions", "with_fold"]

PLACE_PRIOR = 50.0
ITEM_PRIOR = 5.0


def with_fold(frame: pl.DataFrame) -> pl.DataFrame:
    """The half (0 or 1) that each row's user belongs to, as the column `fold`."""
    users = frame.select(pl.col("user").unique(maintain_order=True))
    folds = [int(user_fraction("off-policy", "fold", user) < 0.5) for user in users["user"]]
    return frame.join(users.with_columns(fold=pl.Series(folds, dtype=pl.Int64)), on="user", how="left")


def add_predictions(shown: pl.DataFrame, policy: pl.DataFrame) -> pl.DataFrame:
    """`shown` with `predicted` (of the item shown) and `expected` (of what the policy would show in its place).

    `shown` has user, domain, position, item, clicked and fold; `policy` has user, domain, position (null: any place),
    item, probability and fold.
    """
    rates = _place_rates(shown)
    with_rates = _rated(shown, rates)
    appeals = _appeals(with_rates)
    predicted = _appealing(with_rates, appeals).with_columns(predicted=pl.col("rate") * pl.col("appeal"))
    keys = ["user", "domain", "position"]
    wanted = (
        _appealing(policy, appeals).group_by(keys).agg(appeal_wanted=(pl.col("probability") * pl.col("appeal")).sum())
    )
    here = predicted.join(wanted, on=keys, how="left", maintain_order="left")
    anywhere = wanted.filter(pl.col("position").is_null()).drop("position").rename({"appeal_wanted": "anywhere"})
    joined = here.join(anywhere, on=keys[:2], how="left", maintain_order="left")
    appeal = pl.coalesce("appeal_wanted", "anywhere", pl.lit(0.0))
    return joined.with_columns(expected=pl.col("rate") * appeal).drop("appeal_wanted", "anywhere", "appeal", "rate")


def _place_rates(shown: pl.DataFrame) -> pl.DataFrame:
    """Rate of each (domain, position) seen by the other half, under the fold that it is used on."""
    clicks, count = pl.col("clicked").sum(), pl.len()
    domains = shown.group_by("fold", "domain").agg(domain_rate=clicks / count)
    places = shown.group_by("fold", "domain", "position").agg(clicks=clicks, count=count)
    drawn = (pl.col("clicks") + PLACE_PRIOR * pl.col("domain_rate")) / (pl.col("count") + PLACE_PRIOR)
    rates = places.join(domains, on=["fold", "domain"]).select("fold", "domain", "position", rate=drawn)
    return rates.with_columns(fold=1 - pl.col("fold"))


def _rated(shown: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    joined = shown.join(rates, on=["fold", "domain", "position"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("rate").fill_null(0.0))


def _appeals(with_rates: pl.DataFrame) -> pl.DataFrame:
    """Appeal of each (domain, item) to the other half, under the fold that it is used on."""
    items = with_rates.group_by("fold", "domain", "item").agg(pl.col("clicked", "rate").sum())
    appeal = (pl.col("clicked") + ITEM_PRIOR) / (pl.col("rate") + ITEM_PRIOR)
    return items.select("domain", "item", fold=1 - pl.col("fold"), appeal=appeal)


def _appealing(frame: pl.DataFrame, appeals: pl.DataFrame) -> pl.DataFrame:
    joined = frame.join(appeals, on=["fold", "domain", "item"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("appeal").fill_null(1.0))
