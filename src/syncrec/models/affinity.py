"""Which domains have anything to do with each other, found in the training events before anything is trained.

Whoever likes two items that others like together tells of it in both domains; where a domain's items are drawn
without regard to what its users do elsewhere, its events tell nothing of the others and can only disturb them. Not in
the paper, which gives a domain that suffers less weight but lets it read everything all the same.

What a user's events in domain a tell of an item in domain b is measured on users whose events were not looked at to
find item vectors, as the probability that the item the user had comes before an item that another one had (AUC: Hanley
and McNeil 1982): .5 if they tell nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.data.catalogue import named_communities
from syncrec.data.dataset import Dataset
from syncrec.models.co_occurrence import co_occurrence_vectors
from syncrec.models.neighbours import user_items
from syncrec.rng import numpy_generator
from syncrec.stats import fixed_half_width

__all__ = ["UNRELATED_BELOW", "DomainAffinity", "communities_of", "domain_affinity"]

# Seen: .66 to .75 between Amazon categories, .90 where a log was made so, .50 to .51 where a domain is drawn at random.
UNRELATED_BELOW = 0.55
_LEVEL = 0.05
_DIM = 32
_MOST_EVENTS = 2_000_000
_MOST_PAIRS = 10_000  # of users and items of one domain, in each half
_NUM_RIVALS = 8
_FEWEST_USERS = 30  # fewer show nothing: their error, which is estimated too, may be anything

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Matrix = Any  # scipy's sparse arrays have no types


@dataclass(frozen=True)
class DomainAffinity:
    """What events in a domain (row) tell of items in another (column); arrays [D, D].

    `estimate` is an AUC in 0..1, nan where it cannot be measured; `error` its standard error, over users; `num_pairs`
    the pairs of a user and an item it is the mean of.
    """

    estimate: Floats
    error: Floats
    num_pairs: Ints

    @property
    def upper(self) -> Floats:
        """Upper ends of the intervals that are right together in 95 of 100 logs (Bonferroni), [D, D]."""
        num_domains = len(self.estimate)
        confidence = 1 - 2 * _LEVEL / max(1, num_domains * (num_domains - 1))
        return self.estimate + fixed_half_width(self.error, confidence)

    def content(self, domains: Sequence[str]) -> dict[str, Any]:
        """As plain values for JSON, with the names of the domains; null where it cannot be measured."""
        found = {"estimate": self.estimate, "upper": self.upper}
        values = {
            name: [[None if np.isnan(x) else round(float(x), 4) for x in row] for row in matrix]
            for name, matrix in found.items()
        }
        groups = named_communities(communities_of(self), domains)
        return {"domains": list(domains), **values, "num_pairs": self.num_pairs.tolist(), "communities": groups}

    def are_unrelated(self) -> npt.NDArray[np.bool_]:
        """Domains shown to tell nothing of each other in either direction: bool [D, D], symmetric.

        Without evidence, as in a small log, nothing is shown.
        """
        is_below: npt.NDArray[np.bool_] = self.upper < UNRELATED_BELOW
        return is_below & is_below.T

    def are_unknown(self) -> npt.NDArray[np.bool_]:
        """Domains of which one direction or both could not be measured, and none has shown anything: bool [D, D]."""
        is_high: npt.NDArray[np.bool_] = self.upper >= UNRELATED_BELOW
        is_known: npt.NDArray[np.bool_] = ~np.isnan(self.upper)
        return ~(is_high | is_high.T | (is_known & is_known.T))


def communities_of(affinity: DomainAffinity) -> tuple[int, ...]:
    """The number of each domain's community, from 0 in the order of their first domains.

    Two related domains are in one community, and so are those that others connect. Of what then is left apart, groups
    of which no pair was shown to be unrelated are put together, those with most events first: without evidence, as in
    a small log, domains read each other, but one of which nothing is known does not connect what is unrelated.
    """
    is_unrelated = affinity.are_unrelated()
    groups = _connected(~is_unrelated & ~affinity.are_unknown())
    sizes = affinity.num_pairs.diagonal()
    groups.sort(key=lambda group: (-sizes[group].sum(), group))
    merged: list[list[int]] = []
    for group in groups:
        host = next((other for other in merged if not is_unrelated[np.ix_(other, group)].any()), None)
        if host is None:
            merged.append(group)
        else:
            host += group
    numbers = np.empty(len(is_unrelated), dtype=np.int64)
    for number, group in enumerate(sorted(merged, key=min)):
        numbers[group] = number
    return tuple(numbers.tolist())


def _connected(is_linked: npt.NDArray[np.bool_]) -> list[list[int]]:
    """The nodes of each connected part of a graph, bool [D, D] symmetric; each node is linked to itself or alone."""
    left, parts = set(range(len(is_linked))), []
    while left:
        waiting, part = [left.pop()], []
        while waiting:
            node = waiting.pop()
            part.append(node)
            others = left.intersection(np.flatnonzero(is_linked[node]).tolist())
            left -= others
            waiting += others
        parts.append(sorted(part))
    return parts


def domain_affinity(dataset: Dataset, ends: Ints) -> DomainAffinity:
    """Measure it on events before `ends` (event index of each user [U]), of some of the users where there are many.

    Users are halved at random; vectors of items come from one half, as in `model.item_start`, and pairs from the other,
    in turn. The same events give the same affinity. Takes seconds.
    """
    chance = numpy_generator(0, "domain-affinity")
    num_domains = dataset.num_domains
    sums, counts, squares, told_by = np.zeros((4, num_domains, num_domains))
    halves = np.array_split(_some_users(dataset, ends, chance), 2)
    for seen, asked in (halves, halves[::-1]):
        if not len(seen) or not len(asked):
            continue
        items_of = user_items(dataset, ends, seen)
        vectors = _centred(dataset, items_of, co_occurrence_vectors(items_of, _DIM))
        half = _Half(dataset, user_items(dataset, ends, asked), vectors, chance)
        for source in range(num_domains):
            tastes = half.tastes(source)
            for target in range(num_domains):
                users, wins = half.wins(tastes, source, target)
                by_user = np.bincount(users, minlength=len(asked)), np.bincount(users, wins, minlength=len(asked))
                sums[source, target] += by_user[1].sum()
                counts[source, target] += by_user[0].sum()
                num_users = np.count_nonzero(by_user[0])
                told_by[source, target] += num_users
                if num_users > 1:
                    deviations = ((by_user[1] - by_user[0] * wins.mean()) ** 2).sum()
                    squares[source, target] += deviations * num_users / (num_users - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate, error = sums / counts, np.sqrt(squares) / counts
    is_known = told_by >= _FEWEST_USERS
    unknown = np.full_like(sums, np.nan)
    return DomainAffinity(
        np.where(is_known, estimate, unknown), np.where(is_known, error, unknown), counts.astype(np.int64)
    )


def _some_users(dataset: Dataset, ends: Ints, chance: np.random.Generator) -> Ints:
    """Users with two or more events, in random order, so many that they have about `_MOST_EVENTS` at most."""
    lengths = ends - np.asarray(dataset.user_offsets)[:-1]
    users = chance.permutation(np.flatnonzero(lengths > 1))
    return users[np.cumsum(lengths[users]) <= _MOST_EVENTS]


def _centred(dataset: Dataset, items_of: Matrix, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The vectors less the mean of their domain's events, so that how much somebody does tells nothing."""
    events = np.asarray(items_of.sum(0)).ravel()
    for domain in range(dataset.num_domains):
        items = slice(*dataset.item_range(domain))
        is_known = events[items] > 0
        if is_known.any():
            mean = np.average(vectors[items][is_known], axis=0, weights=events[items][is_known])
            vectors[items][is_known] -= mean.astype(np.float32)
    return vectors


class _Half:
    """The users who are asked: which items they have, and which of these are weighed against what."""

    def __init__(
        self, dataset: Dataset, items_of: Matrix, vectors: npt.NDArray[np.float32], chance: np.random.Generator
    ) -> None:
        self._dataset, self._items_of, self._vectors = dataset, items_of, vectors
        self._pairs = [self._draw(domain, chance) for domain in range(dataset.num_domains)]

    def _draw(self, domain: int, chance: np.random.Generator) -> tuple[Ints, Ints, Ints]:
        """Users and items of some pairs in `domain` [n], and rivals of the items [n, `_NUM_RIVALS`]."""
        start, stop = self._dataset.item_range(domain)
        pairs = self._items_of[:, start:stop].tocoo()
        users, items = pairs.row.astype(np.int64), start + pairs.col.astype(np.int64)
        is_known = self._vectors[items].any(1)
        users, items = users[is_known], items[is_known]
        rivals = items[chance.integers(0, max(1, len(items)), (len(items), _NUM_RIVALS))]
        chosen = chance.permutation(len(items))[:_MOST_PAIRS]
        return users[chosen], items[chosen], rivals[chosen]

    def tastes(self, source: int) -> npt.NDArray[np.float32]:
        """The sum of vectors of each user's items in domain `source`, [users, dim]."""
        items = slice(*self._dataset.item_range(source))
        found: npt.NDArray[np.float32] = self._items_of[:, items].astype(np.float32) @ self._vectors[items]
        return found

    def wins(self, tastes: npt.NDArray[np.float32], source: int, target: int) -> tuple[Ints, Floats]:
        """Users of the pairs in domain `target` that `source` says something about, and how often the item won."""
        users, items, rivals = self._pairs[target]
        asked, wanted = tastes[users], self._vectors[items]
        if source == target:
            asked = asked - wanted
        is_told = np.abs(asked).sum(1) > 1e-6
        users, asked, wanted, rivals = users[is_told], asked[is_told], wanted[is_told], rivals[is_told]
        own = np.einsum("nd,nd->n", asked, wanted)[:, None]
        others = np.einsum("nd,nrd->nr", asked, self._vectors[rivals])
        is_rival = rivals != items[is_told][:, None]
        wins = (((own > others) + 0.5 * (own == others)) * is_rival).sum(1)
        num_rivals = is_rival.sum(1)
        has_any = num_rivals > 0
        return users[has_any], wins[has_any] / num_rivals[has_any]
