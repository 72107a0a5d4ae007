from collections import Counter
from itertools import count

import numpy as np
import pytest

from syncrec.experimentation.population import Answer, Population, TasteModel, simulate

POPULATION = Population(("books", "films"), num_users=300, num_days=3, visits_a_day=2.0, domain_shares=(0.75, 0.25))


def fixed_answers(items=("a", "b", "c")):
    requests = count()
    return lambda user, domain: Answer(items, f"r{next(requests)}", "control", [0.5] * len(items), 7.0)


def events(population=POPULATION, clicks=lambda user, domain, items: np.full(len(items), 0.3)):
    return list(simulate(population, fixed_answers(), clicks))


def test_every_visit_is_a_request_with_its_impressions_in_order():
    found = events()
    kinds = Counter(event.kind for event in found)
    assert kinds["impression"] == 3 * kinds["request"]
    shown = [e for e in found if e.request_id == "r0" and e.kind == "impression"]
    assert [(e.item, e.position, e.propensity, e.arm) for e in shown] == [
        ("a", 1, 0.5, "control"),
        ("b", 2, 0.5, "control"),
        ("c", 3, 0.5, "control"),
    ]
    assert len({event.event_id for event in found}) == len(found)


def test_visits_are_as_many_as_asked_for_and_in_time_order():
    visits = [visit for day in range(POPULATION.num_days) for visit in POPULATION.visits(day)]
    times = [time for time, _, _ in visits]
    assert times == sorted(times)
    assert POPULATION.start_s <= times[0] <= times[-1] < POPULATION.start_s + 3 * 86_400
    assert len(visits) == pytest.approx(300 * 3 * 2, rel=0.15)
    assert np.mean([domain == "books" for _, _, domain in visits]) == pytest.approx(0.75, abs=0.04)


def test_clicks_have_the_probabilities_of_the_model():
    found = events(clicks=lambda user, domain, items: np.array([0.6, 0.2, 0.0]))
    shown = Counter(e.item for e in found if e.kind == "impression")
    clicked = Counter(e.item for e in found if e.kind == "click")
    assert [clicked[item] / shown[item] for item in "abc"] == pytest.approx([0.6, 0.2, 0], abs=0.04)


def test_the_same_population_gives_the_same_events():
    assert events() == events()
    assert events() != events(Population(("books", "films"), num_users=300, num_days=3, seed=1))


def test_a_visit_may_be_answered_with_nothing():
    answers = iter(count())
    found = simulate(POPULATION, lambda *_: Answer([], f"r{next(answers)}"), lambda *_: np.zeros(0))
    assert {event.kind for event in found} == {"request"}


def test_taste_is_rate_times_appeal_times_place():
    taste = TasteModel(examination=0.5)
    found = taste("alice", "books", ["x", "y"])
    by_hand = [taste.rate("alice") * taste.appeal("books", "x"), taste.rate("alice") * taste.appeal("books", "y") * 0.5]
    assert found == pytest.approx(by_hand)
    assert TasteModel(click_rate=0.9, concentration=1e6, shape=0.1)("u", "d", [str(n) for n in range(200)]).max() == 1


def test_users_and_items_differ_as_the_model_says():
    taste = TasteModel(click_rate=0.1, concentration=9)
    rates = np.array([taste.rate(f"u{number}") for number in range(2000)])
    appeals = np.array([taste.appeal("books", f"i{number}") for number in range(2000)])
    assert (rates.mean(), appeals.mean()) == (pytest.approx(0.1, abs=0.01), pytest.approx(1, abs=0.05))
    assert rates.var() == pytest.approx(0.1 * 0.9 / 10, rel=0.15)
    assert appeals.var() == pytest.approx(1 / 2, rel=0.2)
