"""How often do intervals and p-values over a few training seeds see a difference where there is none?

    python benchmarks/interval_coverage.py

draws values of two models that are equally good, for 200 users and several seeds: users differ, seeds of either model
differ, and a user's value differs from seed to seed by noise, in units of a metric whose mean is about 1. An interval
of 95 % should miss 0 in 5 % of draws, and a p-value be below .05 as often; one seed cannot know what seeds are worth.
"""

import argparse
from typing import NamedTuple

import numpy as np

from syncrec.stats import PairedSample, paired_bootstrap, paired_p_value

NUM_USERS = 200


class Case(NamedTuple):
    """Standard deviations: between seeds of either model; of the mean over all users, by users and by noise."""

    seeds: tuple[float, float]
    users: float
    noise: float


CASES = (Case((0.0035, 0.0006), 0.0014, 0.0), Case((0.0035, 0.0006), 0.0014, 0.003), Case((0.0, 0.0), 0.0014, 0.003))


def equal_models(rng: np.random.Generator, num_seeds: int, case: Case) -> PairedSample:
    """Values of two models of the same expectation."""
    scale = NUM_USERS**0.5
    sides = [rng.normal(0, deviation, (num_seeds, 1)) for deviation in case.seeds]
    noises = [rng.normal(0, case.noise, (num_seeds, NUM_USERS)) * scale for _ in case.seeds]
    shared = 1 + rng.normal(0, 0.2, (1, NUM_USERS))
    apart = rng.normal(0, case.users, (1, NUM_USERS)) * scale
    return PairedSample(shared + apart + sides[0] + noises[0], shared + sides[1] + noises[1])


def main() -> None:
    """Print a line for each case and number of seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    print("| between seeds | users | noise | seeds | interval misses 0 | p below .05 |")
    print("| --: | --: | --: | --: | --: | --: |")
    for case in CASES:
        between = " and ".join(f"{value:g}" for value in case.seeds)
        for num_seeds in (1, 2, 3, 5):
            rng = np.random.default_rng(num_seeds)
            missed = found = 0
            for draw in range(draws):
                sample = equal_models(rng, num_seeds, case)
                interval = paired_bootstrap(sample, seed=draw, num_resamples=500).absolute
                missed += not interval.low <= 0 <= interval.high
                found += paired_p_value(sample, seed=draw, num_permutations=500) < 0.05
            counts = f"{missed / draws:.1%} | {found / draws:.1%}"
            print(f"| {between} | {case.users} | {case.noise} | {num_seeds} | {counts} |", flush=True)


if __name__ == "__main__":
    main()
