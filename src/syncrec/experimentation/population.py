"""Simulated users with known click probabilities, to rehearse an experiment from the first answer to the report.

Users visit a domain, are shown what an answer function gives them, and click. Who answers is a callable, so that it may
be a policy in memory as well as a service at the other end of a wire:

    answer(user, domain) -> Answer          # what is shown
    click_model(user, domain, items)        # the probability of a click on each place of it
    simulate(population, answer, click_model) -> events in time order

Users differ in how often they come and in how often they click, so impressions of one user are alike.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from syncrec.experimentation.events import Event
from syncrec.rng import numpy_generator
from syncrec.stats import FloatArray

__all__ = ["Answer", "Answerer", "ClickModel", "Population", "TasteModel", "simulate"]

_DAY_S = 86_400


class Answer(NamedTuple):
    """Items in the order shown (none: an empty answer), and what the service says about it."""

    items: Sequence[str]
    request_id: str
    arm: str | None = None
    propensities: Sequence[float] | None = None
    latency_ms: float | None = None


Answerer = Callable[[str, str], Answer]
ClickModel = Callable[[str, str, Sequence[str]], FloatArray]


@dataclass(frozen=True)
class Population:
    """Who comes, how often and where. The same population and answers give the same events.

    `visits_a_day` is the mean over users, each with an activity of their own (exponential). `domain_shares` are of the
    visits; without them domains are alike.
    """

    domains: tuple[str, ...]
    num_users: int = 1000
    num_days: int = 14
    visits_a_day: float = 1.0
    domain_shares: tuple[float, ...] | None = None
    start_s: float = 1_764_000_000.0
    seed: int = 0

    @property
    def users(self) -> list[str]:
        """Their ids."""
        return [f"user-{number:06d}" for number in range(self.num_users)]

    def visits(self, day: int) -> Iterator[tuple[float, str, str]]:
        """(unix seconds, user, domain) of each visit of a day, in time order."""
        activity = numpy_generator(self.seed, "population-activity").exponential(self.visits_a_day, self.num_users)
        rng = numpy_generator(self.seed, "population-visits", day)
        who = np.repeat(np.arange(self.num_users), rng.poisson(activity))
        times = self.start_s + _DAY_S * (day + rng.random(len(who)))
        domains = rng.choice(len(self.domains), size=len(who), p=self.domain_shares)
        users = self.users
        for visit in np.argsort(times, kind="stable").tolist():
            yield float(times[visit]), users[who[visit]], self.domains[domains[visit]]


@dataclass(frozen=True)
class TasteModel:
    """A click model: the user's own rate, times the item's appeal, times what the place leaves of it.

    Rates are Beta distributed with mean `click_rate`; the lower the `concentration`, the more users differ. Appeals are
    Gamma distributed with mean 1 and `shape`: the lower, the more items differ. Each place is looked at with
    `examination` times the probability of the one above it.
    """

    click_rate: float = 0.1
    concentration: float = 20.0
    shape: float = 2.0
    examination: float = 0.9
    seed: int = 0

    def __call__(self, user: str, domain: str, items: Sequence[str]) -> FloatArray:
        """Probability of a click on each of the `items`, at most 1."""
        appeals = np.array([self.appeal(domain, item) for item in items])
        places = self.examination ** np.arange(len(items))
        return np.minimum(self.rate(user) * appeals * places, 1.0)

    def rate(self, user: str) -> float:
        """The user's own click rate on an item of mean appeal in the first place."""
        if user not in self._rates:
            a, b = self.click_rate * self.concentration, (1 - self.click_rate) * self.concentration
            self._rates[user] = float(numpy_generator(self.seed, f"taste-user-{user}").beta(a, b))
        return self._rates[user]

    def appeal(self, domain: str, item: str) -> float:
        """What the item is worth, the same to all users; 1 in the mean of items."""
        if (domain, item) not in self._appeals:
            rng = numpy_generator(self.seed, f"taste-item-{domain}/{item}")
            self._appeals[domain, item] = float(rng.gamma(self.shape, 1 / self.shape))
        return self._appeals[domain, item]

    @cached_property
    def _rates(self) -> dict[str, float]:
        return {}

    @cached_property
    def _appeals(self) -> dict[tuple[str, str], float]:
        return {}


def simulate(population: Population, answer: Answerer, click_model: ClickModel) -> Iterator[Event]:
    """Every request, impression and click, visit by visit; `answer` is asked in time order."""
    for day in range(population.num_days):
        rng = numpy_generator(population.seed, "population-clicks", day)
        for time, user, domain in population.visits(day):
            shown = answer(user, domain)
            probabilities = click_model(user, domain, shown.items)
            is_clicked = rng.random(len(shown.items)) < probabilities
            yield from _visit(shown, is_clicked.tolist(), user, domain, time)


def _visit(shown: Answer, is_clicked: Sequence[bool], user: str, domain: str, time: float) -> Iterator[Event]:
    request = shown.request_id
    yield Event(request, "request", user, domain, None, time, request, shown.arm, latency_ms=shown.latency_ms)
    propensities: Sequence[float | None] = shown.propensities or [None] * len(shown.items)
    for index, (item, propensity) in enumerate(zip(shown.items, propensities, strict=True)):
        place = (request, shown.arm, index + 1, propensity)
        yield Event(f"{request}/{index + 1}", "impression", user, domain, item, time, *place)
        if is_clicked[index]:
            yield Event(f"{request}/{index + 1}/click", "click", user, domain, item, time + 1 + index, *place)
