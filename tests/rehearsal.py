"""An experiment on two domains, rehearsed on simulated users with a known lift."""

from datetime import UTC, datetime
from itertools import count

import numpy as np

from syncrec.experimentation.events import event_frame
from syncrec.experimentation.lifecycle import load_experiment, start_experiment
from syncrec.experimentation.population import Answer, Population, simulate
from syncrec.rng import numpy_generator

DEFINITION = """
name = "rehearsal"
salt = "2026-11"
minimum_lift = 0.2
[arms.control]
share = 0.5
[arms.syncrec]
share = 0.5
[guardrails.films]
metric = "ctr"
domain = "films"
max_worsening = 0.1
[guardrails.empty]
metric = "empty_answers"
limit = 0.05
[guardrails.slow]
metric = "latency_ms"
max_worsening = 0.25
"""
POPULATION = Population(("books", "films"), num_users=1200, num_days=5, visits_a_day=1.0)
LIFT = 0.6


def write_experiment(folder, text=DEFINITION):
    """A running experiment that started with the population's first visit."""
    path = folder / "rehearsal.toml"
    path.write_text(text, encoding="utf-8")
    start_experiment(path, datetime.fromtimestamp(POPULATION.start_s, UTC))
    return path


def lifted_clicks(user, domain, items):
    """A click rate of .1 or, for an item of the better model, a lift of 60 %, in any place; users differ."""
    own = numpy_generator(0, f"rate-{user}").beta(2.0, 18.0)
    return np.array([min(1.0, own * (1 + LIFT * item.startswith("better"))) for item in items])


def answering(experiment, requests):
    """Answers as a service gives them: two items of the arm that the user is in; every 100th answer is empty."""

    def answer(user, domain):
        number = next(requests)
        arm = experiment.arm_of(user, POPULATION.start_s + 1)
        model = "better" if arm == "syncrec" else "plain"
        items = [f"{model}-{domain}-{number % 7}", f"{model}-{domain}-{number % 5 + 7}"] if number % 100 else []
        return Answer(items, f"r{number}", arm, latency_ms=20.0 + number % 10)

    return answer


def rehearse(folder):
    """Puts `rehearsal.toml`, running, and the log of its users, `events.csv` and `events.parquet`, into `folder`."""
    experiment = load_experiment(write_experiment(folder))
    frame = event_frame(simulate(POPULATION, answering(experiment, count(1)), lifted_clicks))
    frame.write_csv(folder / "events.csv")
    frame.write_parquet(folder / "events.parquet")
    return folder
