"""Attributes of items, to filter by: a table with the columns `domain`, `item` and any others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from syncrec.errors import ConfigError, DataError, nearest_names
from syncrec.serving.questions import Filter, NumberRange

__all__ = ["DomainAttributes", "ItemTable"]

_KEYS = ("domain", "item")
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DomainAttributes:
    """The attributes of one domain's items, in the order of its catalogue: texts (None: unknown) or numbers (NaN)."""

    domain: str
    columns: Mapping[str, npt.NDArray[np.object_] | npt.NDArray[np.float64]]

    def mask(self, filters: Mapping[str, Filter]) -> Mask | None:
        """True for items that pass all `filters`; None if there are none. An item without a value does not pass.

        Raises:
            ConfigError: there is no such attribute, or the filter is not of its kind.
        """
        masks = [self._mask(name, wanted) for name, wanted in filters.items()]
        return np.logical_and.reduce(masks) if masks else None

    def _mask(self, name: str, wanted: Filter) -> Mask:
        column = self.columns.get(name)
        if column is None:
            near = nearest_names(name, self.columns)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(self.columns) or 'none'}"
            raise ConfigError(f"filters: items of {self.domain} have no attribute {name!r}{hint}")
        if isinstance(wanted, NumberRange):
            if column.dtype == np.object_:
                raise ConfigError(f"filters: {name!r} is text; give a list of values, not a range")
            return (column >= wanted.minimum) & (column <= wanted.maximum)
        if column.dtype != np.object_:
            raise ConfigError(f"filters: {name!r} is a number; give a range {{'min': ..., 'max': ...}}, not a list")
        return np.fromiter((value in wanted for value in column), dtype=np.bool_, count=len(column))


class ItemTable:
    """A CSV or Parquet file of items; a column whose every value is a number holds numbers, any other texts.

    Raises:
        DataError: it cannot be read, lacks a key column, or has an item twice.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{path}: cannot be read as an item table: {str(error).splitlines()[0]}") from None
        if missing := [name for name in _KEYS if name not in self._frame.columns]:
            raise DataError(f"{path}: has no column {missing[0]!r}; an item table has domain, item and its attributes")
        twice = self._frame.select(_KEYS).is_duplicated()
        if twice.any():
            row = self._frame.filter(twice).row(0, named=True)
            raise DataError(f"{path}: item {row['item']!r} of {row['domain']!r} is there twice; keep one row")
        self.attributes = [name for name in self._frame.columns if name not in _KEYS]

    def of_domain(self, domain: str, items: Sequence[str]) -> DomainAttributes:
        """The attributes of `items`, in their order."""
        wanted = pl.DataFrame({"item": pl.Series(list(items), dtype=pl.String)})
        own = self._frame.filter(pl.col("domain").cast(pl.String) == domain).with_columns(
            pl.col("item").cast(pl.String)
        )
        joined = wanted.join(own.drop("domain"), on="item", how="left", maintain_order="left")
        return DomainAttributes(domain, {name: _column(joined[name], self._frame[name]) for name in self.attributes})


def _column(values: pl.Series, whole: pl.Series) -> npt.NDArray[np.object_] | npt.NDArray[np.float64]:
    numbers = whole.cast(pl.Float64, strict=False)
    if numbers.null_count() == whole.null_count():
        return values.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    return np.asarray(values.cast(pl.String).to_list(), dtype=np.object_)
