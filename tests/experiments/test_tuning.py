import builtins

import pytest

from syncrec.errors import MissingCapabilityError
from syncrec.experiments.plan import Plan
from syncrec.experiments.search import SharedSearch
from syncrec.experiments.tuning import best_of, first_values

LOW, HIGH = {"training.learning_rate": 1e-4, "model.dim": 16}, {"training.learning_rate": 1e-2, "model.dim": 64}


def plan_of(space, **settings):
    return Plan.model_validate(
        {
            "datasets": {"d": {"dataset": "somewhere"}},
            "models": {"sasrec": {}},
            "settings": settings,
            "tuning": {"trials": 4, "space": space},
        }
    )


def test_the_first_of_the_best_trials_is_chosen():
    assert best_of([(LOW, 0.1), (HIGH, 0.3), (LOW, 0.3)]).chosen == HIGH


def test_a_trial_that_failed_is_never_chosen():
    trials = [(LOW, None), (HIGH, -1.0)]
    found = best_of(trials)
    assert found.chosen == HIGH
    assert found.trials == trials
    assert best_of([(LOW, None)]).chosen == {}


def test_the_plan_gives_the_first_values_as_far_as_the_space_holds_them():
    space = {"training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "model.dim": [16, 32]}
    assert first_values(plan_of(space), "sasrec") == {"training.learning_rate": 1e-3}
    inside = plan_of(space, **{"model.dim": 32, "training.learning_rate": 0.5})
    assert first_values(inside, "sasrec") == {"model.dim": 32}


def test_a_range_of_a_whole_number_gives_whole_numbers(tmp_path):
    search = SharedSearch(plan_of({"model.num_layers": {"low": 1, "high": 3}}), "sasrec", tmp_path, list)
    found = []
    while taken := search.take():
        found.append(taken.values["model.num_layers"])
        search.finish(taken, float(taken.number))
    assert {type(value) for value in found} == {int}
    assert len(found) == 4


def test_without_optuna_the_remedy_is_named(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingCapabilityError, match=r"pip install 'syncrec\[tune\]'"):
        SharedSearch(plan_of({"model.dim": [16, 64]}), "sasrec", tmp_path, list)
