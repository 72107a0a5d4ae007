"""A policy as a table: with which probability it would show which item to which user."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from syncrec.errors import DataError
from syncrec.experimentation.events import read_columns

__all__ = ["read_policies"]

_OPTIONAL = ("domain", "rank", "position", "probability")
_ROUNDING = 1e-6


def read_policies(texts: Sequence[str]) -> pl.DataFrame:
    """The policy in `FILE` or `DOMAIN=FILE`s: user, domain, item, position (null: any place) and probability.

    A file has the columns `user` and `item`; `domain`, unless it is given; `position` or `rank`, from 1; and
    `probability`, 1 without it. What `syncrec recommend --all --out` writes is a policy that always shows the item of
    each rank in its place.

    Raises:
        DataError: a file or column is missing, a row is bad, or probabilities of one place sum to more than 1.
    """
    policy = pl.concat([_read_one(text) for text in texts])
    places = policy.group_by("user", "domain", "position", maintain_order=True).agg(pl.col("probability").sum())
    over = places.filter(pl.col("probability") > 1 + _ROUNDING)
    if over.height:
        user, domain, position, total = over.row(0)
        place = "" if position is None else f", position {position}"
        raise DataError(
            f"{', '.join(texts)}: probabilities of user {user!r} in domain {domain!r}{place} sum to {total:g}; a "
            "policy has at most 1 for each place (columns `probability`, and `position` or `rank`)"
        )
    return policy


def _read_one(text: str) -> pl.DataFrame:
    domain, path = "", Path(text)
    if not path.exists() and "=" in text:
        domain, _, name = text.partition("=")
        path = Path(name)
    raw = read_columns(path, ["user", "item"], _OPTIONAL)
    frame = raw.select(
        pl.col("user").cast(pl.String),
        pl.lit(domain).alias("domain") if domain else pl.col("domain").cast(pl.String),
        pl.col("item").cast(pl.String),
        pl.coalesce(pl.col("position", "rank").cast(pl.Int64, strict=False)).alias("position"),
        pl.coalesce(pl.col("probability").cast(pl.Float64, strict=False), pl.lit(1.0)).alias("probability"),
    )
    if frame["domain"].has_nulls():
        raise DataError(f"{path}: no domain; name it with DOMAIN={path}, or give a column 'domain'")
    bad = (
        pl.any_horizontal(pl.col("user", "item").is_null())
        | ~pl.col("probability").is_between(0, 1)
        | (raw["probability"].is_not_null() & raw["probability"].cast(pl.Float64, strict=False).is_null())
    )
    if (index := frame.select(bad.arg_true()).to_series()).len():
        raise DataError(f"{path}: row {index[0] + 1} is bad: user and item must be there, probability in 0..1")
    return frame
