"""The law of a simulated log of any size: services whose events are of known worth to each other, in chunks of users.

The law of `syncrec.data.simulation`, for any number of domains and items. Of D domains, D // 4 are negative,
(D + 1) // 4 of transfer none, and the others positive, so two domains are both positive and five are of the kinds of
the five services. Each domain has its share of the items, in C clusters that are rounds of R places (R is 40, or less
where there are few items).

| domains | the next item | worth of the others' events |
|---|---|---|
| `positive-1`, ... | the next place of a *story*: a cluster and a place in it, common to all of them | positive |
| `none-1`, ... | drawn from one cluster, the user's own for ever, whatever happens elsewhere | none |
| `negative-1`, ... | the next place of one of two districts, its own, that take turns: A7 C2 A8 C3 ... | negative |

Why each is worth what the table says stands in `syncrec.data.simulation`. The later positive domains have fewer events
and gain more; no negative domain comes twice in a row. Clusters are drawn by popularity: the first c of C have a share
of the square root of c / C. One event in twenty is any item of its domain.

A chunk of users is a pure function of the settings, the seed and its number, so memory depends on the chunk, and chunks
may be made in any order. Within a chunk there is no loop over events or users.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from syncrec.errors import ConfigError
from syncrec.rng import numpy_generator

__all__ = ["LEAST_ITEMS", "MOST_EVENTS_PER_USER", "Chunk", "Services", "Transfer"]

Transfer = Literal["positive", "none", "negative"]

LEAST_ITEMS = 16  # of a domain: four clusters of four places
MOST_EVENTS_PER_USER = 100_000

_CHUNK_EVENTS = 1 << 20
_PLACES = 40
_LEAST_CLUSTERS = 4
_NEW_STORY = 0.1
_NOISE = 0.05
_POPULARITY = 0.12
_WEIGHTS: Mapping[Transfer, float] = {"positive": 1.0, "none": 1.0, "negative": 1.5}
_SPARSEST = 0.4  # weight of the last positive domain
_START = 1_600_000_000
_FIRST_DAYS = 30 * 86_400
_MEAN_GAP_S = 6 * 3600
_LONGEST_MEAN_S = 2 * 365 * 86_400

_Numbers = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Chunk:
    """Events of neighbouring users, each user's in time order; arrays of one entry an event.

    `users` and `domains` are numbers, `items` numbers within their domain, `times` unix seconds.
    """

    users: _Numbers
    domains: _Numbers
    items: _Numbers
    times: _Numbers


@dataclass(frozen=True)
class Services:
    """Which log is meant: `num_events` events of `num_users` users on `num_items` items in `num_domains` domains.

    A user has between about half and one and a half times the mean of events, at least one; domains share the items
    evenly.

    Raises:
        ConfigError: there can be no such log; the text says what is allowed.
    """

    num_users: int
    num_items: int
    num_domains: int
    num_events: int
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.num_domains < 2:
            raise ConfigError(f"domains must be at least 2, got {self.num_domains:,}: nothing transfers within one")
        if self.num_items < LEAST_ITEMS * self.num_domains:
            raise ConfigError(
                f"items must be at least {LEAST_ITEMS} for each domain, {LEAST_ITEMS * self.num_domains:,} for "
                f"{self.num_domains:,} domains, got {self.num_items:,}; ask for more items or fewer domains"
            )
        if not self.num_users <= self.num_events <= MOST_EVENTS_PER_USER * self.num_users:
            raise ConfigError(
                f"events are those of the whole log, 1 to {MOST_EVENTS_PER_USER:,} for each user on average, got "
                f"{self.num_events:,} events for {self.num_users:,} users; ask for more of one or fewer of the other"
            )

    @property
    def known_transfer(self) -> dict[str, Transfer]:
        """What the others' events are worth to each domain, by name, in order of number."""
        none, negative = (self.num_domains + 1) // 4, self.num_domains // 4
        counts: dict[Transfer, int] = {"positive": self.num_domains - none - negative, "none": none}
        counts["negative"] = negative
        return {f"{kind}-{number + 1}": kind for kind, count in counts.items() for number in range(count)}

    @property
    def items_of_domain(self) -> _Numbers:
        """Number of items of each domain; they differ by one at most."""
        per_domain, rest = divmod(self.num_items, self.num_domains)
        return per_domain + (np.arange(self.num_domains) < rest).astype(np.int64)

    @property
    def num_places(self) -> int:
        """R: places of a cluster, from 4 to 40. Item i of a domain has place i % R, in cluster i // R."""
        return min(_PLACES, self.num_items // self.num_domains // _LEAST_CLUSTERS)

    @property
    def num_clusters(self) -> int:
        """C: clusters of a domain, at least 4. The few items behind the last one occur by chance alone."""
        return self.num_items // self.num_domains // self.num_places

    @property
    def num_chunks(self) -> int:
        """Number of chunks; all but the last have the same number of users."""
        return -(-self.num_users // self._chunk_users)

    @property
    def _chunk_users(self) -> int:
        return max(1, _CHUNK_EVENTS * self.num_users // self.num_events)

    def chunk(self, number: int) -> Chunk:
        """The events of chunk `number`, about a million."""
        first = number * self._chunk_users
        stop = min(first + self._chunk_users, self.num_users)
        rng = numpy_generator(self.seed, "services", number)
        num_events = self.num_events * stop // self.num_users - self.num_events * first // self.num_users
        lengths = _draw_lengths(rng, stop - first, num_events)
        return _ChunkDraw(self, rng, np.repeat(np.arange(stop - first), lengths)).chunk(first)


def _draw_lengths(rng: np.random.Generator, num_users: int, num_events: int) -> _Numbers:
    """Events of each user, at least 1 and `num_events` together."""
    ends = np.cumsum(rng.uniform(0.5, 1.5, num_users))
    ends = np.round(ends / ends[-1] * (num_events - num_users)).astype(np.int64)
    return 1 + np.diff(ends, prepend=0)


class _ChunkDraw:
    """The draws of one chunk: users numbered from 0, events in order of user and time."""

    def __init__(self, services: Services, rng: np.random.Generator, users: _Numbers) -> None:
        self._services, self._rng, self._users = services, rng, users
        self._num_users = int(users[-1]) + 1
        self._kinds = np.array(list(services.known_transfer.values()))

    def chunk(self, first_user: int) -> Chunk:
        domains = self._draw_domains()
        items = np.zeros_like(domains)
        self._tell_story(domains, items)
        for domain in np.flatnonzero(self._kinds == "none").tolist():
            self._stay_at_home(np.flatnonzero(domains == domain), items)
        for domain in np.flatnonzero(self._kinds == "negative").tolist():
            self._travel(np.flatnonzero(domains == domain), items)
        noisy = np.flatnonzero(self._rng.random(len(items), dtype=np.float32) < _NOISE)
        items[noisy] = self._rng.integers(0, self._services.items_of_domain[domains[noisy]])
        return Chunk(self._users + first_user, domains, items, self._draw_times())

    def _draw_domains(self) -> _Numbers:
        """The domain of each event; of a run of one negative domain every second becomes one that is not negative."""
        weights = np.array([_WEIGHTS[kind] for kind in self._services.known_transfer.values()])
        is_positive, is_negative = self._kinds == "positive", self._kinds == "negative"
        weights[is_positive] = np.linspace(1, _SPARSEST, is_positive.sum())
        domains = self._choose(weights, len(self._users))
        repeats = is_negative[domains] & ~_begins(domains) & ~_begins(self._users)
        in_run = np.arange(len(domains)) - _last_true(~repeats)
        others = np.flatnonzero(in_run % 2)
        domains[others] = self._choose(np.where(is_negative, 0, weights), len(others))
        return domains

    def _choose(self, weights: npt.NDArray[np.float64], size: int) -> _Numbers:
        ends = np.cumsum(weights)
        chosen = np.searchsorted(ends, self._rng.random(size) * ends[-1], side="right")
        return np.minimum(chosen, np.flatnonzero(weights)[-1])

    def _tell_story(self, domains: _Numbers, items: _Numbers) -> None:
        """Items of all positive domains: the user's story moves on with each, and now and then another begins."""
        where = np.flatnonzero((self._kinds == "positive")[domains])
        begins = _begins(self._users[where]) | (self._rng.random(len(where), dtype=np.float32) < _NEW_STORY)
        story = np.cumsum(begins) - 1
        num_stories = int(np.count_nonzero(begins))
        clusters = self._draw_clusters(num_stories)
        first_places = self._rng.integers(0, self._services.num_places, num_stories)
        steps = np.arange(len(where)) - _last_true(begins)
        items[where] = self._item(clusters[story], first_places[story] + steps)

    def _stay_at_home(self, where: _Numbers, items: _Numbers) -> None:
        """Items of a domain of transfer none: by popularity, from the user's own cluster."""
        home = self._draw_clusters(self._num_users)
        places = np.minimum(self._rng.geometric(_POPULARITY, len(where)), self._services.num_places) - 1
        items[where] = self._item(home[self._users[where]], places)

    def _travel(self, where: _Numbers, items: _Numbers) -> None:
        """Items of a negative domain: the next place of the district whose turn it is."""
        num_clusters = self._services.num_clusters
        one = self._draw_clusters(self._num_users)
        other = (one + self._rng.integers(1, num_clusters, self._num_users)) % num_clusters
        first_places = self._rng.integers(0, self._services.num_places, (self._num_users, 2))
        users = self._users[where]
        trips = np.arange(len(where)) - _last_true(_begins(users))
        turn = trips % 2
        items[where] = self._item(np.where(turn == 0, one[users], other[users]), first_places[users, turn] + trips // 2)

    def _draw_clusters(self, size: int) -> _Numbers:
        return (self._rng.random(size) ** 2 * self._services.num_clusters).astype(np.int64)

    def _item(self, clusters: _Numbers, places: _Numbers) -> _Numbers:
        return clusters * self._services.num_places + places % self._services.num_places

    def _draw_times(self) -> _Numbers:
        """Unix seconds, ascending within each user: from a day of the first month on, with exponential gaps."""
        mean_events = self._services.num_events / self._services.num_users
        mean_gap = min(_MEAN_GAP_S, _LONGEST_MEAN_S / mean_events)
        gaps = 1 + (self._rng.standard_exponential(len(self._users)) * mean_gap).astype(np.int64)
        elapsed = np.cumsum(gaps)
        starts = _START + self._rng.integers(0, _FIRST_DAYS, self._num_users)
        before = elapsed[_begins(self._users)] - gaps[_begins(self._users)]
        return elapsed + (starts - before)[self._users]


def _begins(numbers: _Numbers) -> _Flags:
    """True where a number differs from the one before it, and at the first."""
    return np.concatenate([[True], numbers[1:] != numbers[:-1]]) if len(numbers) else np.zeros(0, dtype=np.bool_)


def _last_true(flags: _Flags) -> _Numbers:
    """For each place the last one up to it that is True, 0 if there is none."""
    return np.maximum.accumulate(np.where(flags, np.arange(len(flags)), 0))
