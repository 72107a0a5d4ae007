"""Many simulated A/B experiments at once, each looked at every day, as the sums that a report makes of its users.

Users differ: each has a click rate of their own (Beta) and an activity of their own (Gamma), comes in on a day of their
own and then again and again. So impressions of one user are alike, and a test that takes them for independent fails.
"""

from dataclasses import dataclass

import numpy as np

from syncrec.stats import RatioSums


@dataclass(frozen=True)
class World:
    """What is simulated: experiments, users an arm, days; mean and concentration of click rates; views a day."""

    num_experiments: int = 400
    num_users: int = 400
    num_days: int = 30
    click_rate: float = 0.05
    concentration: float = 8.0
    views_a_day: float = 2.0
    join_over_days: int = 20


def simulate_arm(world: World, lift: float, rng: np.random.Generator) -> tuple[RatioSums, RatioSums]:
    """Sums by experiment and day, [experiments, days], over users, and over impressions taken for independent."""
    rate, concentration = world.click_rate * (1 + lift), world.concentration
    shape = (world.num_experiments, world.num_users)
    rates = rng.beta(rate * concentration, (1 - rate) * concentration, shape)
    activity = rng.gamma(1.0, world.views_a_day, shape)
    first_day = rng.integers(0, world.join_over_days, shape)
    views, clicks = np.zeros(shape), np.zeros(shape)
    by_user, by_view = [], []
    for day in range(world.num_days):
        new = rng.poisson(np.where(first_day <= day, activity, 0.0))
        views += new
        clicks += rng.binomial(new, rates)
        by_user.append(RatioSums.of_units(clicks, views))
        by_view.append(independent_views(clicks.sum(axis=1), views.sum(axis=1)))
    return stacked(by_user), stacked(by_view)


def independent_views(clicks: np.ndarray, views: np.ndarray) -> RatioSums:
    """The sums of as many units as there are views: y is 0 or 1, x is 1."""
    return RatioSums(views, clicks, views, clicks, clicks, views)


def stacked(days: list[RatioSums]) -> RatioSums:
    return RatioSums(*(np.stack([vars(day)[name] for day in days], axis=1) for name in vars(days[0])))
