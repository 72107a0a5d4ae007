"""Baselines that are no run: made from a dataset in one go, and ranked as trained models are."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from syncrec.data.dataset import Dataset, Queries, Split
from syncrec.data.packing import ViewName
from syncrec.errors import ConfigError, UnknownNameError
from syncrec.evaluation import EvaluationResult, Provenance, Ranks, Rivals, Scorer, evaluate_ranks, versions
from syncrec.fitting import check_trainable
from syncrec.models.matrix_factorisation import FactorSettings, factor_scorer, refit_factors
from syncrec.models.neighbours import DECAY, NUM_NEIGHBOURS, ItemNeighbours, NeighbourScorer
from syncrec.models.scoring import PopularityScorer
from syncrec.ranker import shared_ranks_of
from syncrec.validation import best_factors

__all__ = [
    "BASELINES",
    "Baseline",
    "Refit",
    "baseline_config",
    "check_baseline_split",
    "fit_baseline",
    "fit_matrix_factorisation",
    "fit_neighbours",
    "fit_popularity",
    "is_baseline_result",
]

Refit = Literal["none", "validation"]
"""As `training.refit`: with `validation` a model knows training and validation events when it answers test queries."""


@dataclass(frozen=True)
class Baseline:
    """A model that knows the dataset's users, and what it was made of."""

    dataset: Dataset
    provenance: Provenance
    make_scorers: Callable[[Queries], Mapping[str, Scorer]]

    def evaluate(self, split: Split = "test", protocol: str = "full", seed: int = 0) -> EvaluationResult:
        """Its answers to the queries of `split`; `seed` is that of the draw of negatives. Processes share the work.

        Raises:
            ConfigError: it knows the events of `split`.
            UnknownNameError: there is no such protocol.
            DataError: there are no queries.
        """
        check_baseline_split(self.provenance.model, split, self.provenance.config["refit"])
        queries = self.dataset.queries(split)

        def rank(rivals: Rivals) -> Ranks:
            return shared_ranks_of(self.make_scorers, self.dataset, queries, rivals)

        return evaluate_ranks(queries, self.dataset, rank, self.provenance, protocol=protocol, split=split, seed=seed)


def fit_popularity(dataset: Dataset, refit: Refit = "none") -> Baseline:
    """The floor, answer `popularity`: items ranked by their number of events."""
    config = baseline_config("popularity", refit)
    scorer = PopularityScorer(dataset, None if refit == "none" else np.asarray(dataset.validation_end))
    return Baseline(dataset, Provenance(model="popularity", config=config), lambda _: {"popularity": scorer})


def fit_neighbours(dataset: Dataset, refit: Refit = "none") -> Baseline:
    """Item-kNN: `cross` after the whole history, `single` after the history in the target's domain."""
    config = baseline_config("item-knn", refit)
    neighbours = ItemNeighbours(dataset, ends=None if refit == "none" else np.asarray(dataset.validation_end))
    views: tuple[ViewName, ...] = ("cross", "single")

    def scorers(queries: Queries) -> dict[str, Scorer]:
        return {view: NeighbourScorer(dataset, queries, neighbours, view) for view in views}

    return Baseline(dataset, Provenance(model="item-knn", config=config), scorers)


def fit_matrix_factorisation(
    dataset: Dataset, refit: Refit = "none", *, seed: int = 0, settings: FactorSettings | None = None
) -> Baseline:
    """BPR-MF, answer `cross`; the validation split chooses the epoch (full MRR, mean of domains), `seed` the rest.

    A user without events to learn from gets item biases.

    Raises:
        DataError: there is nothing to train on, or no validation target.
    """
    settings = settings or FactorSettings()
    config = {**baseline_config("bpr-mf", refit), **asdict(settings)}
    check_trainable(dataset)
    factors, num_epochs = best_factors(dataset, seed, settings)
    if refit == "validation":
        factors = refit_factors(dataset, num_epochs, seed, settings)
    provenance = Provenance(model="bpr-mf", seed=seed, config=config, versions=versions(torch=torch.__version__))
    return Baseline(dataset, provenance, lambda queries: {"cross": factor_scorer(factors, queries)})


BASELINES: Mapping[str, Callable[[Dataset, Refit], Baseline]] = {
    "popularity": fit_popularity,
    "item-knn": fit_neighbours,
    "bpr-mf": fit_matrix_factorisation,
}
"""Evaluated once for each dataset. `bpr-mf` is trained for it, with settings of its own."""

_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "popularity": {},
    "item-knn": {"num_neighbours": NUM_NEIGHBOURS, "decay": DECAY},
    "bpr-mf": asdict(FactorSettings()),
}


def baseline_config(name: str, refit: Refit) -> dict[str, Any]:
    """What one of `BASELINES` is made with; goes into its results.

    Raises:
        UnknownNameError: there is none of that name.
        ConfigError: `refit` is no `Refit`.
    """
    if name not in BASELINES:
        remedy = f"those that need no run are {', '.join(BASELINES)}; `syncrec train` trains the others"
        raise UnknownNameError("model", name, BASELINES, remedy)
    if refit not in get_args(Refit):
        raise ConfigError(f"refit must be one of {', '.join(get_args(Refit))}, got {refit!r}")
    return {**_SETTINGS[name], "refit": refit}


def is_baseline_result(found: EvaluationResult, name: str, refit: Refit) -> bool:
    """Whether a result is of one of `BASELINES`, made as it would be now; of any dataset."""
    return (found.provenance.model, dict(found.provenance.config)) == (name, baseline_config(name, refit))


def check_baseline_split(name: str, split: Split, refit: Refit) -> None:
    """See that a baseline may be asked for the events of `split`.

    Raises:
        ConfigError: it knows them.
    """
    if split == "validation" and refit != "none":
        raise ConfigError(
            f"{name} that is made of validation events (refit = {refit}) knows the answers of the validation split; "
            "evaluate the test split, or take refit = none"
        )


def fit_baseline(name: str, dataset: Dataset, refit: Refit = "none") -> Baseline:
    """One of `BASELINES`.

    Raises:
        UnknownNameError: there is none of that name.
        ConfigError: `refit` is no `Refit`.
        DataError: the dataset has nothing to learn from.
    """
    baseline_config(name, refit)
    return BASELINES[name](dataset, refit)
