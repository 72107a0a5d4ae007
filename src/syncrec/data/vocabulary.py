"""Ids become numbers twice: while reading in the order of arrival, and then in the order of their UTF-8 bytes.

The order of arrival depends on the threads that read; the second numbering makes the result independent of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from syncrec.errors import DataError

__all__ = ["ArrivalCodes", "ItemDomains", "Vocabulary", "item_ranks", "user_ranks"]

_NO_DOMAIN = -1


@dataclass(frozen=True)
class Vocabulary:
    """All ids of a log: users sorted, items sorted within their domain and the domains one after another."""

    users: pl.Series
    items: pl.Series
    domain_of_item: npt.NDArray[np.int64]
    domains: Sequence[str]


class ArrivalCodes:
    """Gives each new text the next number, in whatever query its `encode` is used."""

    def __init__(self) -> None:
        self._kind = pl.Categorical(pl.Categories.random())
        # Polars forgets the texts once no column of this type is left; this one keeps them.
        self._anchor = pl.Series([], dtype=self._kind)

    def encode(self, texts: pl.Expr) -> pl.Expr:
        """The codes (uint32) of a column of texts; null for null."""
        return texts.cast(self._kind).to_physical()

    def code(self, text: str) -> int:
        """The code of one text."""
        return int(pl.select(self.encode(pl.lit(text))).item())

    def texts(self, codes: npt.NDArray[Any]) -> pl.Series:
        """The texts of codes."""
        return pl.Series("id", codes.astype(np.uint32)).cat.to(self._kind).cast(pl.String)


class ItemDomains:
    """The one domain of each item, by code; an item met in a second domain is refused."""

    def __init__(self, items: ArrivalCodes, domains: ArrivalCodes) -> None:
        self._items, self._domains = items, domains
        self.by_item: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def learn(self, items: npt.NDArray[np.uint32], domains: npt.NDArray[np.uint32] | np.uint32) -> None:
        """Take note of events: the codes of their items, and of their domains (or the one of all).

        Raises:
            DataError: an item is in two domains.
        """
        self._grow(int(items.max(initial=0)) + 1)
        new = self.by_item[items] == _NO_DOMAIN
        self.by_item[items[new]] = domains if np.ndim(domains) == 0 else np.asarray(domains)[new]
        clash = np.flatnonzero(self.by_item[items] != domains)
        if len(clash):
            first = clash[0]
            other = np.broadcast_to(np.asarray(domains), items.shape)[first]
            self._refuse(int(items[first]), int(self.by_item[items[first]]), int(other))

    def _grow(self, size: int) -> None:
        if size > len(self.by_item):
            grown = np.full(max(size, 2 * len(self.by_item)), _NO_DOMAIN, dtype=np.int64)
            grown[: len(self.by_item)] = self.by_item
            self.by_item = grown

    def _refuse(self, item: int, one: int, other: int) -> None:
        name = self._items.texts(np.array([item]))[0]
        first, second = sorted(self._domains.texts(np.array([one, other])))
        raise DataError(
            f"item {name!r} is in two domains, {first!r} and {second!r}; an item has one: "
            f"make ids unique, for example {first}:{name} and {second}:{name}"
        )


def user_ranks(codes: npt.NDArray[np.int64], users: ArrivalCodes) -> tuple[npt.NDArray[np.uint32], pl.Series]:
    """For each code its place among the sorted ids of `codes` (which ascend), and those ids."""
    return _ranks(pl.DataFrame({"code": codes, "id": users.texts(codes)}).sort("id"))


def item_ranks(
    domains: ItemDomains, items: ArrivalCodes, domain_codes: Sequence[int]
) -> tuple[npt.NDArray[np.uint32], pl.Series, npt.NDArray[np.int64]]:
    """For each code its place among the items sorted by (domain, id); those ids; the domain number of each.

    Domain number d has the code `domain_codes[d]`.
    """
    number_of_code = np.zeros(max(domain_codes, default=0) + 1, dtype=np.int64)
    number_of_code[list(domain_codes)] = np.arange(len(domain_codes))
    codes = np.flatnonzero(domains.by_item != _NO_DOMAIN)
    numbers = number_of_code[domains.by_item[codes]]
    frame = pl.DataFrame({"code": codes, "id": items.texts(codes), "domain": numbers}).sort("domain", "id")
    ranks, ids = _ranks(frame)
    return ranks, ids, frame["domain"].to_numpy()


def _ranks(frame: pl.DataFrame) -> tuple[npt.NDArray[np.uint32], pl.Series]:
    codes = frame["code"].to_numpy()
    ranks = np.zeros(int(codes.max(initial=-1)) + 1, dtype=np.uint32)
    ranks[codes] = np.arange(len(codes), dtype=np.uint32)
    return ranks, frame["id"]
