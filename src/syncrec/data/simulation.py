"""A simulated log of five services of one app, in which the worth of the other services' events is known.

The items of each domain lie in clusters, each cluster an endless round of places. What decides the next item decides
the worth of a shared history:

| domain | the next item | worth of the others' events |
|---|---|---|
| `books`, `films`, `music` | the next place of a *story*: a cluster and a place in it, common to the three | positive |
| `calls` | drawn from one cluster, the user's own for ever, whatever happens elsewhere | none |
| `maps` | the next place of one of two districts that take turns: A7 C2 A8 C3 A9 C4 ... | negative |

**Positive.** Every event in one of the three moves the user's story on by one place, and now and then another story
begins. The last event in any of the three gives away where the story stands; the last one in the domain itself is
out of date by as many places as there were events in the other two. `music` is sparse and so gains most.

**None.** No other event says anything about the cluster of the calls, and any earlier call says all there is to know,
wherever it stands in the history. There is nothing to gain, and little to lose.

**Negative.** The next place follows from the last but one `maps` event, and other events say nothing of it. In the
history of `maps` alone that event is always at the same distance. In the whole history it is at any distance, since
events of the other services come between in numbers that vary by chance, and no two `maps` events are neighbours: a
model must count `maps` events among useless ones, which most of its training teaches it to look at. The loss is one
of estimation, not of information: a model could avoid it, and that is the point.
"""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from syncrec.artifacts import write_bytes
from syncrec.rng import numpy_generator

__all__ = ["KNOWN_TRANSFER", "simulate_log"]

KNOWN_TRANSFER: Mapping[str, Literal["positive", "none", "negative"]] = {
    "books": "positive",
    "films": "positive",
    "music": "positive",
    "calls": "none",
    "maps": "negative",
}

_DOMAINS = tuple(KNOWN_TRANSFER)
_SHARES = np.array([0.22, 0.2, 0.08, 0.2, 0.3])
_CALLS, _MAPS = _DOMAINS.index("calls"), _DOMAINS.index("maps")
_NUM_CLUSTERS = 12
_CLUSTER_SIZE = 40
_NUM_DISTRICTS = 2
_NEW_STORY = 0.1
_NOISE = 0.05
_START = 1_600_000_000
_MEAN_GAP_S = 6 * 3600

_Numbers = npt.NDArray[np.int64]


@dataclass
class _Users:
    """What drives each user; arrays of one entry a user, changed from event to event."""

    cluster: _Numbers
    place: _Numbers
    call_cluster: _Numbers
    districts: _Numbers
    district_places: _Numbers
    num_trips: _Numbers


def simulate_log(path: Path, *, num_users: int = 3000, mean_events: int = 30, seed: int = 0) -> int:
    """Write a CSV log (user, item, domain, timestamp; gzip if `path` ends in .gz), grouped by user in time order.

    Gives the number of its events. Each user has between half and one and a half times `mean_events` (2 or more), both
    rounded down, each domain 480 items. The same arguments give the same bytes.
    """
    assert mean_events >= 2, f"users without events would not be in the log, mean_events is {mean_events}"
    rng = numpy_generator(seed, "simulation")
    lengths = rng.integers(mean_events // 2, mean_events + mean_events // 2 + 1, size=num_users)
    domains, items = _simulate_events(rng, num_users, int(lengths.max(initial=0)))
    gaps = 1 + rng.exponential(_MEAN_GAP_S, size=domains.shape).astype(np.int64)
    times = _START + rng.integers(0, 30 * 86400, size=num_users) + np.cumsum(gaps, axis=0)
    text = "".join(_lines(domains.T, items.T, times.T, lengths)).encode()
    write_bytes(path, gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    return int(lengths.sum())


def _simulate_events(rng: np.random.Generator, num_users: int, num_steps: int) -> tuple[_Numbers, _Numbers]:
    """Domain and item number of every event, [steps, users]; later steps than a user has are simulated in vain."""
    users = _draw_users(rng, num_users)
    domains = np.zeros((num_steps, num_users), dtype=np.int64)
    items = np.zeros_like(domains)
    for step in range(num_steps):
        may_be_maps = domains[step - 1] != _MAPS if step else np.ones(num_users, dtype=np.bool_)
        domains[step] = _draw_domains(rng, may_be_maps)
        items[step] = _draw_items(rng, users, domains[step])
    return domains, items


def _draw_users(rng: np.random.Generator, num_users: int) -> _Users:
    def clusters() -> _Numbers:
        return rng.integers(0, _NUM_CLUSTERS, size=num_users)

    all_clusters = np.tile(np.arange(_NUM_CLUSTERS), (num_users, 1))
    districts = rng.permuted(all_clusters, axis=1)[:, :_NUM_DISTRICTS]
    places = rng.integers(0, _CLUSTER_SIZE, size=(num_users, 1 + _NUM_DISTRICTS))
    no_trips = np.zeros(num_users, dtype=np.int64)
    return _Users(clusters(), places[:, 0], clusters(), districts, places[:, 1:], no_trips)


def _draw_domains(rng: np.random.Generator, may_be_maps: npt.NDArray[np.bool_]) -> _Numbers:
    """A domain for each user, never `maps` twice in a row."""
    any_domain = rng.choice(len(_DOMAINS), size=len(may_be_maps), p=_SHARES)
    others = rng.choice(_MAPS, size=len(may_be_maps), p=_SHARES[:_MAPS] / _SHARES[:_MAPS].sum())
    return np.where((any_domain == _MAPS) & ~may_be_maps, others, any_domain)


def _draw_items(rng: np.random.Generator, users: _Users, domains: _Numbers) -> _Numbers:
    """An item number for each user in the domain given, and the users moved on."""
    in_story = domains < _CALLS
    _move_story(rng, users, in_story)
    trip_cluster, trip_place = _move_trip(users, domains == _MAPS)
    cluster = np.select([in_story, domains == _CALLS], [users.cluster, users.call_cluster], trip_cluster)
    # Calls are drawn by popularity: the first ones of a cluster are the most frequent.
    popular = np.minimum(rng.geometric(0.12, size=len(domains)) - 1, _CLUSTER_SIZE - 1)
    place = np.select([in_story, domains == _CALLS], [users.place, popular], trip_place)
    items = cluster * _CLUSTER_SIZE + place
    anything = rng.integers(0, _NUM_CLUSTERS * _CLUSTER_SIZE, size=len(domains))
    return np.where(rng.random(len(domains)) < _NOISE, anything, items)


def _move_story(rng: np.random.Generator, users: _Users, in_story: npt.NDArray[np.bool_]) -> None:
    size = len(in_story)
    begins = in_story & (rng.random(size) < _NEW_STORY)
    users.cluster = np.where(begins, rng.integers(0, _NUM_CLUSTERS, size=size), users.cluster)
    new_place = rng.integers(0, _CLUSTER_SIZE, size=size)
    users.place = np.where(begins, new_place, (users.place + in_story) % _CLUSTER_SIZE)


def _move_trip(users: _Users, travels: npt.NDArray[np.bool_]) -> tuple[_Numbers, _Numbers]:
    """Cluster and place of each user's trip; those who travel move on in the district whose turn it is."""
    who = np.arange(len(travels))
    turn = users.num_trips % _NUM_DISTRICTS
    users.district_places[who, turn] = (users.district_places[who, turn] + travels) % _CLUSTER_SIZE
    users.num_trips = users.num_trips + travels
    return users.districts[who, turn], users.district_places[who, turn]


def _lines(domains: _Numbers, items: _Numbers, times: _Numbers, lengths: _Numbers) -> Iterator[str]:
    yield "user,item,domain,timestamp\n"
    for user, length in enumerate(lengths.tolist()):
        for domain, item, time in zip(domains[user, :length], items[user, :length], times[user], strict=False):
            name = _DOMAINS[domain]
            yield f"user-{user:05d},{name}-{item:03d},{name},{time}\n"
