"""Ids in sorted order: users, domains, and items within their one domain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from syncrec.data.id_codes import IdCodes
from syncrec.errors import DataError

__all__ = ["ItemDomains", "Vocabulary", "item_ranks", "user_ranks"]

_NO_DOMAIN = -1
_Codes = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Vocabulary:
    """All ids of a log: users sorted, items sorted within their domain and the domains one after another."""

    users: pl.Series
    items: pl.Series
    domain_of_item: npt.NDArray[np.int64]
    domains: Sequence[str]


class ItemDomains:
    """The one domain of each item, by code; an item met in a second domain is refused."""

    def __init__(self, items: IdCodes, domains: IdCodes) -> None:
        self._items, self._domains = items, domains
        self.by_item: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def learn(self, items: _Codes, domains: _Codes) -> None:
        """Take note of events: the codes of their items, and of their domains.

        Raises:
            DataError: an item is in two domains.
        """
        self._grow(len(self._items))
        differs = np.flatnonzero(self.by_item[items] != domains)
        new = differs[self.by_item[items[differs]] == _NO_DOMAIN]
        self.by_item[items[new]] = domains[new]
        clash = differs[self.by_item[items[differs]] != domains[differs]]
        if len(clash):
            item = int(items[clash[0]])
            self._refuse(item, [int(self.by_item[item]), int(domains[clash[0]])])

    def _grow(self, size: int) -> None:
        if size > len(self.by_item):
            grown = np.full(max(size, 2 * len(self.by_item)), _NO_DOMAIN, dtype=np.int64)
            grown[: len(self.by_item)] = self.by_item
            self.by_item = grown

    def _refuse(self, item: int, domains: list[int]) -> None:
        name = self._items.texts()[item]
        first, second = sorted(self._domains.texts().gather(domains))
        raise DataError(
            f"item {name!r} is in two domains, {first!r} and {second!r}; an item has one: "
            f"make ids unique, for example {first}:{name} and {second}:{name}"
        )


def user_ranks(users: IdCodes) -> tuple[_Codes, pl.Series]:
    """For each code its place among the sorted ids, and those ids."""
    return _ranks(pl.DataFrame({"code": np.arange(len(users)), "id": users.texts()}).sort("id"))


def item_ranks(
    domains: ItemDomains, items: IdCodes, domain_codes: Sequence[int]
) -> tuple[_Codes, pl.Series, npt.NDArray[np.int64]]:
    """For each code its place among the items sorted by (domain, id); those ids; the domain number of each.

    Domain number d has the code `domain_codes[d]`.
    """
    number_of_code = np.zeros(max(domain_codes) + 1, dtype=np.int64)
    number_of_code[list(domain_codes)] = np.arange(len(domain_codes))
    numbers = number_of_code[domains.by_item[: len(items)]]
    frame = pl.DataFrame({"code": np.arange(len(items)), "id": items.texts(), "domain": numbers}).sort("domain", "id")
    return *_ranks(frame), frame["domain"].to_numpy()


def _ranks(frame: pl.DataFrame) -> tuple[_Codes, pl.Series]:
    ranks = np.zeros(len(frame), dtype=np.uint32)
    ranks[frame["code"].to_numpy()] = np.arange(len(frame), dtype=np.uint32)
    return ranks, frame["id"]
