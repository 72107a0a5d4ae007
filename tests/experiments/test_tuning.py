import builtins

import pytest

from syncrec.errors import MissingCapabilityError
from syncrec.experiments.plan import Plan, Range, Tuning
from syncrec.experiments.tuning import tune


def plan_of(trials=6, **settings):
    space = {"training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "model.dim": [16, 64]}
    return Plan.model_validate(
        {
            "datasets": {"d": {"dataset": "somewhere"}},
            "models": {"sasrec": {}},
            "settings": settings,
            "tuning": {"trials": trials, "space": space},
        }
    )


def value_of(values):
    return -abs(values["training.learning_rate"] - 0.01) + (values["model.dim"] == 64)


def test_the_first_trial_is_the_plan_itself_and_the_best_is_chosen():
    found = tune(plan_of(), "sasrec", lambda _, values: value_of(values))
    assert found.trials[0][0] == {"training.learning_rate": 1e-3, "model.dim": 64}
    assert len(found.trials) == 6
    assert found.chosen == max(found.trials, key=lambda trial: trial[1])[0]
    assert len({values["training.learning_rate"] for values, _ in found.trials}) == 6


def test_an_interrupted_search_goes_on_to_the_same_end():
    whole = tune(plan_of(), "sasrec", lambda _, values: value_of(values))
    known = [value for _, value in whole.trials[:3]]

    def again(number, values):
        assert values == whole.trials[number][0]
        return known[number] if number < 3 else value_of(values)

    assert tune(plan_of(), "sasrec", again) == whole


def test_a_range_of_a_whole_number_gives_whole_numbers():
    plan = plan_of().model_copy(update={"tuning": Tuning(trials=4, space={"model.num_layers": Range(low=1, high=3)})})
    found = tune(plan, "sasrec", lambda number, _: float(number))
    assert {type(values["model.num_layers"]) for values, _ in found.trials} == {int}


def test_a_trial_that_failed_is_never_chosen():
    found = tune(plan_of(), "sasrec", lambda number, values: None if number % 2 else value_of(values))
    assert [value is None for _, value in found.trials] == [False, True] * 3
    assert found.chosen in [values for values, value in found.trials if value is not None]
    assert tune(plan_of(2), "sasrec", lambda *_: None).chosen == {}


def test_without_optuna_the_remedy_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingCapabilityError, match=r"pip install 'syncrec\[tune\]'"):
        tune(plan_of(), "sasrec", lambda *_: 0.0)
