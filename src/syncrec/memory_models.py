"""Models that are no run: made from a dataset in one go, and ranked as trained models are."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from syncrec.data.dataset import Dataset, Queries, Split
from syncrec.data.packing import ViewName
from syncrec.errors import ConfigError, UnknownNameError
from syncrec.evaluation import EvaluationResult, NegativeDraw, Provenance, Ranks, Scorer, evaluate_ranks, versions
from syncrec.fitting import check_trainable
from syncrec.models.matrix_factorisation import FactorSettings, factor_scorer, refit_factors
from syncrec.models.neighbours import DECAY, NUM_NEIGHBOURS, ItemNeighbours, NeighbourScorer
from syncrec.models.scoring import PopularityScorer
from syncrec.ranker import shared_ranks_of
from syncrec.validation import best_factors

__all__ = [
    "MEMORY_MODELS",
    "MemoryModel",
    "Refit",
    "check_memory_model",
    "fit_matrix_factorisation",
    "fit_memory_model",
    "fit_neighbours",
    "fit_popularity",
]

Refit = Literal["none", "validation"]
"""As `training.refit`: with `validation` a model knows training and validation events when it answers test queries."""


@dataclass(frozen=True)
class MemoryModel:
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
        check_memory_model(self.provenance.model, split, self.provenance.config["refit"])
        queries = self.dataset.queries(split)

        def rank(draw: NegativeDraw | None) -> Ranks:
            return shared_ranks_of(self.make_scorers, self.dataset, queries, draw)

        return evaluate_ranks(queries, self.dataset, rank, self.provenance, protocol=protocol, split=split, seed=seed)


def fit_popularity(dataset: Dataset, refit: Refit = "none") -> MemoryModel:
    """The floor, answer `popularity`: items ranked by their number of events."""
    scorer = PopularityScorer(dataset, _ends(dataset, refit))
    provenance = Provenance(model="popularity", config={"refit": refit})
    return MemoryModel(dataset, provenance, lambda _: {"popularity": scorer})


def fit_neighbours(dataset: Dataset, refit: Refit = "none") -> MemoryModel:
    """Item-kNN: `cross` after the whole history, `single` after the history in the target's domain."""
    neighbours = ItemNeighbours(dataset, ends=_ends(dataset, refit))
    views: tuple[ViewName, ...] = ("cross", "single")

    def scorers(queries: Queries) -> dict[str, Scorer]:
        return {view: NeighbourScorer(dataset, queries, neighbours, view) for view in views}

    config = {"num_neighbours": NUM_NEIGHBOURS, "decay": DECAY, "refit": refit}
    return MemoryModel(dataset, Provenance(model="item-knn", config=config), scorers)


def fit_matrix_factorisation(
    dataset: Dataset, refit: Refit = "none", *, seed: int = 0, settings: FactorSettings | None = None
) -> MemoryModel:
    """BPR-MF, answer `cross`; the validation split chooses the epoch (full MRR, mean of domains), `seed` the rest.

    A user without events to learn from gets item biases.

    Raises:
        DataError: there is nothing to train on, or no validation target.
    """
    check_trainable(dataset)
    settings = settings or FactorSettings()
    factors, num_epochs = best_factors(dataset, seed, settings)
    if refit == "validation":
        factors = refit_factors(dataset, num_epochs, seed, settings)
    provenance = Provenance(
        model="bpr-mf",
        seed=seed,
        config={**asdict(settings), "refit": refit},
        versions=versions(torch=torch.__version__),
    )
    return MemoryModel(dataset, provenance, lambda queries: {"cross": factor_scorer(factors, queries)})


MEMORY_MODELS: Mapping[str, Callable[[Dataset, Refit], MemoryModel]] = {
    "popularity": fit_popularity,
    "item-knn": fit_neighbours,
    "bpr-mf": fit_matrix_factorisation,
}
"""Evaluated once for each dataset. `bpr-mf` is trained for it, with settings of its own."""


def check_memory_model(name: str, split: Split, refit: str) -> None:
    """See that there is a model of that `name`, and that it may be asked for the events of `split`.

    Raises:
        UnknownNameError: there is none.
        ConfigError: it would know the events.
    """
    if name not in MEMORY_MODELS:
        remedy = f"those that need no run are {', '.join(MEMORY_MODELS)}; `syncrec train` trains the others"
        raise UnknownNameError("model", name, MEMORY_MODELS, remedy)
    if split == refit:
        raise ConfigError(
            f"{name} that is made of validation events (refit = validation) knows the answers of the validation split; "
            "evaluate the test split, or take refit = none"
        )


def fit_memory_model(name: str, dataset: Dataset, refit: Refit = "none") -> MemoryModel:
    """One of `MEMORY_MODELS`.

    Raises:
        UnknownNameError: there is none of that name.
        DataError: the dataset has nothing to learn from.
    """
    check_memory_model(name, "test", refit)
    return MEMORY_MODELS[name](dataset, refit)


def _ends(dataset: Dataset, refit: Refit) -> npt.NDArray[np.int64]:
    return np.asarray(dataset.train_end if refit == "none" else dataset.validation_end)
