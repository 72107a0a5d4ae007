"""The same tuning budget for every model, spent on validation data alone (Optuna's TPE, Bergstra et al. 2011).

The first trial takes the plan's own settings; `search.py` gives the others out.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from syncrec.config import field_of
from syncrec.errors import MissingCapabilityError
from syncrec.experiments.plan import Plan, Range

if TYPE_CHECKING:
    import optuna

__all__ = ["Tuned", "Values", "best_of", "first_values", "import_optuna", "num_random_trials", "suggest_values"]

Values = dict[str, Any]


@dataclass(frozen=True)
class Tuned:
    """The best settings found, and every trial: (settings, validation metric; None where training failed)."""

    chosen: Values
    trials: list[tuple[Values, float | None]]


def best_of(trials: list[tuple[Values, float | None]]) -> Tuned:
    """The settings of the best trial, the first of equal ones; none if all failed."""
    finished = [(value, values) for values, value in trials if value is not None]
    chosen = max(finished, key=lambda found: found[0])[1] if finished else {}
    return Tuned(chosen, trials)


def num_random_trials(plan: Plan) -> int:
    """Trials before the sampler learns from them."""
    return max(2, plan.tuning.trials // 3)


def suggest_values(plan: Plan, trial: "optuna.Trial") -> Values:
    """The settings of a trial; those that it has already stay."""
    return {key: _suggest(trial, key, choices) for key, choices in plan.tuning.space.items()}


def import_optuna() -> Any:
    """The library, silenced.

    Raises:
        MissingCapabilityError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingCapabilityError(
            "tuning needs Optuna, which is not installed: pip install 'syncrec[tune]', or set tuning.trials = 0"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def first_values(plan: Plan, label: str) -> Values:
    """What the plan itself says of the tuned keys, as far as the space holds it."""
    dumped = plan.config(label, plan.tuning.seed).model_dump()
    current = {}
    for key, choices in plan.tuning.space.items():
        section, _, name = key.partition(".")
        value = dumped[section][name]
        if isinstance(choices, Range):
            if choices.low <= value <= choices.high:
                current[key] = value
        elif value in choices:
            current[key] = value
    return current


def _suggest(trial: "optuna.Trial", key: str, choices: list[Any] | Range) -> Any:
    if isinstance(choices, Range) and field_of(key).annotation is int:
        return trial.suggest_int(key, int(choices.low), int(choices.high), log=choices.log)
    if isinstance(choices, Range):
        return trial.suggest_float(key, choices.low, choices.high, log=choices.log)
    return trial.suggest_categorical(key, choices)
