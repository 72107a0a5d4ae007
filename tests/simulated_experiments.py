"""Many simulated A/B experiments at once, each looked at every day, as the sums that a report makes of its users.

Users differ: each has a click rate of their own (Beta) and an activity of their own (Gamma), comes in on a day of their
own and then again and again. So impressions of one user are alike, and a test that takes them for independent fails.

As a script it prints the figures of docs/experiments-online.md (two minutes).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from syncrec.stats import (
    Estimate,
    RatioSums,
    fixed_half_width,
    log_ratio_of_rates,
    mixture_scale,
    sequential_half_width,
)


@dataclass(frozen=True)
class World:
    """What is simulated: experiments, users an arm, days; mean and concentration of click rates; views a day.

    `pattern` is how activity goes: users who stay; who come on one day; whose activity grows or shrinks, at a pace of
    their own; one in twenty of whom is a robot for a day; whose activity has a heavy tail.
    """

    num_experiments: int = 400
    num_users: int = 400
    num_days: int = 30
    click_rate: float = 0.05
    concentration: float = 8.0
    views_a_day: float = 2.0
    join_over_days: int = 20
    pattern: Literal["stay", "once", "change", "robots", "heavy"] = "stay"


def simulate_arm(world: World, lift: float, rng: np.random.Generator) -> tuple[RatioSums, RatioSums]:
    """Sums by experiment and day, [experiments, days], over users, and over impressions taken for independent."""
    rate, concentration = world.click_rate * (1 + lift), world.concentration
    shape = (world.num_experiments, world.num_users)
    rates = rng.beta(rate * concentration, (1 - rate) * concentration, shape)
    views, clicks = np.zeros(shape), np.zeros(shape)
    by_user, by_view = [], []
    for activity in daily_activity(world, rng):
        new = rng.poisson(activity)
        views += new
        clicks += rng.binomial(new, rates)
        by_user.append(RatioSums.of_units(clicks, views))
        by_view.append(independent_views(clicks.sum(axis=1), views.sum(axis=1)))
    return stacked(by_user), stacked(by_view)


def daily_activity(world: World, rng: np.random.Generator):
    """Views expected of each user on each day, [experiments, users]."""
    shape = (world.num_experiments, world.num_users)
    activity = rng.gamma(1.0, world.views_a_day, shape)
    if world.pattern == "heavy":
        activity = rng.lognormal(-1.0, 2.0, shape)
    first_day = rng.integers(0, world.join_over_days, shape)
    pace = rng.normal(0, 0.2, shape)
    is_robot = rng.random(shape) < 0.05
    for day in range(world.num_days):
        if world.pattern == "once":
            yield np.where(first_day == day, 5 * activity, 0.0)
        elif world.pattern == "change":
            yield np.minimum(activity * np.exp(pace * day - 2), 5000.0)
        elif world.pattern == "robots":
            yield activity * np.where(is_robot & (first_day == day), 200.0, 0.5)
        else:
            yield np.where(first_day <= day, activity, 0.0)


def independent_views(clicks: np.ndarray, views: np.ndarray) -> RatioSums:
    """The sums of as many units as there are views: y is 0 or 1, x is 1."""
    return RatioSums(views, clicks, views, clicks, clicks, views)


def stacked(days: list[RatioSums]) -> RatioSums:
    return RatioSums(*(np.stack([vars(day)[name] for day in days], axis=1) for name in vars(days[0])))


def judged(treatment: RatioSums, control: RatioSums, least_users: int = 100, least_clicks: int = 20) -> np.ndarray:
    """Whether a report would conclude anything: enough effective users and clicks, [experiments, days]."""
    users = np.minimum(treatment.effective_units, control.effective_units)
    return (users >= least_users) & (np.minimum(treatment.y, control.y) >= least_clicks)


def misses(estimate: Estimate, truth: float, half_width: np.ndarray) -> np.ndarray:
    """Whether the truth is outside the interval, [experiments, days]."""
    return np.abs(estimate.value - truth) > half_width


def print_false_alarms() -> None:
    scale = mixture_scale(math.log1p(0.1))
    print("no lift, looked at daily: experiments with a false alarm on any day")
    for pattern in ("stay", "once", "change", "robots", "heavy"):
        for num_users in (300, 2000):
            world = World(num_experiments=400, num_users=num_users, pattern=pattern)
            rng = np.random.default_rng(1)
            arms = [simulate_arm(world, 0.0, rng) for _ in range(2)]
            by_user, by_view = (log_ratio_of_rates(*pair) for pair in zip(*arms, strict=True))
            is_judged = judged(arms[0][0], arms[1][0])
            alarms = [
                (misses(estimate, 0.0, width) & is_judged).any(axis=1).mean()
                for estimate, width in (
                    (by_user, sequential_half_width(by_user.error, scale)),
                    (by_user, fixed_half_width(by_user.error)),
                    (by_view, sequential_half_width(by_view.error, scale)),
                )
            ]
            shown = " ".join(f"{alarm:7.2%}" for alarm in alarms)
            share = is_judged[:, -1].mean()
            print(f"{pattern:8} {num_users:5} users an arm: sequential, fixed, by view {shown}; judged {share:.0%}")


def print_power(lift: float = 0.214) -> None:
    scale = mixture_scale(math.log1p(0.1))
    print(f"lift {lift:.1%}, 14 days, looked at daily")
    for num_users in (500, 1000, 2000, 4000):
        world = World(200, num_users, num_days=14, concentration=40, join_over_days=7)
        rng = np.random.default_rng(5)
        estimate = log_ratio_of_rates(*(simulate_arm(world, part, rng)[0] for part in (lift, 0.0)))
        half_width = sequential_half_width(estimate.error, scale)
        found = estimate.value > half_width
        first = np.where(found.any(axis=1), found.argmax(axis=1) + 1.0, np.inf)
        covered = 1 - misses(estimate, math.log1p(lift), half_width).any(axis=1).mean()
        fixed = (estimate.value > fixed_half_width(estimate.error))[:, -1].mean()
        print(
            f"{num_users:5} users an arm: found {found.any(axis=1).mean():.0%}, median day {np.median(first):.0f}, "
            f"covered at all looks {covered:.1%}; one look at the end {fixed:.0%}"
        )


if __name__ == "__main__":
    print_false_alarms()
    print_power()
