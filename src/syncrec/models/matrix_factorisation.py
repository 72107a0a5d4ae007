"""BPR-MF: a vector for each user and item, trained so that a user's items score above others; knows no order in time.

Source: Rendle et al., *BPR: Bayesian Personalized Ranking from Implicit Feedback*, UAI 2009 (arXiv 1205.2618). Score of
item i for user u: x_ui = <p_u, q_i> + b_i, with an item bias as in the authors' MyMediaLite. A training event (u, i)
meets an item j that u does not have there, and costs -ln sigmoid(x_ui - x_uj) and L2 on what the triple uses.

Departures: j is drawn from the domain of i, since the question is always which item of a given domain comes next; an
epoch takes every training event once, where the paper draws triples with replacement; minibatches with Adam (Kingma
and Ba, ICLR 2015; moments move in the rows used alone) instead of gradient descent; validation data choose the epoch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncrec.data.dataset import Dataset, Queries
from syncrec.models.scoring import VectorScorer
from syncrec.rng import derive_seed, numpy_generator

__all__ = [
    "FactorSettings",
    "Factors",
    "TrainingTriples",
    "factor_scorer",
    "fit_factors",
    "pairwise_cost",
    "refit_factors",
]

_DRAWS = 20  # of a negative, before its event is left out of the epoch
_INITIAL_SIZE = 0.1

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FactorSettings:
    """How factors are trained. The rate and L2 were chosen by validation MRR on a pair of Amazon domains."""

    dim: int = 64
    learning_rate: float = 0.005
    regularisation: float = 0.02  # times the squared length of a triple's vectors, beside its loss in nats
    batch_size: int = 4096
    epochs: int = 80  # at most
    validate_every: int = 4  # epochs
    patience: int = 12  # epochs without a better validation metric before stopping


class Factors(NamedTuple):
    """x_ui is the inner product of row u of `users` [U, dim + 1] and row i of `items` [I, dim + 1], float32.

    The last column of `items` is b_i, that of `users` is 1. The rest of a user without events to learn from is 0, so
    that the biases answer, much as popularity does.
    """

    users: Tensor
    items: Tensor


class TrainingTriples:
    """What is learned from: each user's events before `ends` [U], each with an item of its domain that the user lacks.

    By default those are the training events; the others are unknown to the draw, too.
    """

    def __init__(self, dataset: Dataset, ends: Ints | None = None) -> None:
        users = np.repeat(np.arange(dataset.num_users), np.diff(dataset.user_offsets))
        is_training = np.arange(len(users)) < (np.asarray(dataset.train_end) if ends is None else ends)[users]
        self.users: Ints = users[is_training]
        self.items: Ints = np.asarray(dataset.items)[is_training].astype(np.int64)
        domains = dataset.domain_of(self.items)
        self._first, self._size = dataset.item_offsets[domains], np.diff(dataset.item_offsets)[domains]
        self._num_items = dataset.num_items
        self._known = np.unique(self._codes(self.users, self.items))

    def draw(self, random: np.random.Generator) -> tuple[Ints, Ints, Ints]:
        """All events in a random order: users, items, negatives, each [n].

        An event is left out if none of 20 draws finds an item of the domain that the user lacks.
        """
        order = random.permutation(len(self.users))
        users, first, size = self.users[order], self._first[order], self._size[order]
        others = first + random.integers(0, size)
        for _ in range(_DRAWS - 1):
            again = np.flatnonzero(self._is_known(users, others))
            others[again] = first[again] + random.integers(0, size[again])
        kept = ~self._is_known(users, others)
        return users[kept], self.items[order][kept], others[kept]

    def _codes(self, users: Ints, items: Ints) -> Ints:
        return users * self._num_items + items

    def _is_known(self, users: Ints, items: Ints) -> npt.NDArray[np.bool_]:
        codes = self._codes(users, items)
        places = np.searchsorted(self._known, codes).clip(max=max(0, len(self._known) - 1))
        return self._known[places] == codes if len(codes) else np.zeros(0, dtype=np.bool_)


class _Tables(nn.Module):
    """p, q and b; a step's gradient has the rows it used alone."""

    def __init__(self, num_users: int, num_items: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.users = nn.Parameter(_INITIAL_SIZE * torch.randn(num_users, dim, generator=generator))
        self.items = nn.Parameter(_INITIAL_SIZE * torch.randn(num_items, dim, generator=generator))
        self.biases = nn.Parameter(torch.zeros(num_items, 1))

    def forward(self, users: Tensor, items: Tensor, others: Tensor, regularisation: float) -> Tensor:
        """`pairwise_cost` of the triples, int64 [n] each."""
        user, item, other = _rows(self.users, users), _rows(self.items, items), _rows(self.items, others)
        biases = _rows(self.biases, items) - _rows(self.biases, others)
        return pairwise_cost(user, item, other, biases.squeeze(1), regularisation)

    @torch.no_grad()
    def factors(self, is_trained: Tensor) -> Factors:
        """A copy of the tables; `is_trained` [U] says which users have events to learn from."""
        users = torch.cat([self.users * is_trained[:, None], torch.ones(len(self.users), 1)], 1)
        return Factors(users, torch.cat([self.items, self.biases], 1))


def _rows(table: Tensor, indices: Tensor) -> Tensor:
    return F.embedding(indices, table, sparse=True)


def pairwise_cost(user: Tensor, item: Tensor, other: Tensor, biases: Tensor, regularisation: float) -> Tensor:
    """Mean of -ln sigmoid(x_ui - x_uj) + regularisation (|p_u|^2 + |q_i|^2 + |q_j|^2), in nats.

    Args:
        user, item, other: p_u, q_i, q_j, float [n, dim] each.
        biases: b_i - b_j [n]; not regularised.
        regularisation: at least 0.
    """
    differences = (user * (item - other)).sum(1) + biases
    squares = sum((vectors.square().sum(1) for vectors in (user, item, other)), torch.zeros(()))
    return (F.softplus(-differences) + regularisation * squares).mean()


def fit_factors(
    dataset: Dataset,
    value: Callable[[Factors], float],
    seed: int = 0,
    settings: FactorSettings = FactorSettings(),
) -> tuple[Factors, int]:
    """The factors of the best epoch, and its number from 1; learned from training events alone.

    Args:
        dataset: the events.
        value: how good factors are on validation data, higher is better.
        seed: of first values, order and negatives.
        settings: how to train.
    """
    best: tuple[float, Factors, int] | None = None
    for epoch, make_factors in _epochs(dataset, np.asarray(dataset.train_end), seed, settings):
        if epoch % settings.validate_every and epoch < settings.epochs:
            continue
        factors = make_factors()
        found = value(factors)
        if best is None or found > best[0]:
            best = found, factors, epoch
        elif epoch - best[2] >= settings.patience:
            break
    assert best is not None
    return best[1], best[2]


def refit_factors(
    dataset: Dataset, num_epochs: int, seed: int = 0, settings: FactorSettings = FactorSettings()
) -> Factors:
    """The factors after `num_epochs` of training on training and validation events together (`training.refit`)."""
    settings = replace(settings, epochs=num_epochs)
    *_, (_, make_factors) = _epochs(dataset, np.asarray(dataset.validation_end), seed, settings)
    return make_factors()


def _epochs(
    dataset: Dataset, ends: Ints, seed: int, settings: FactorSettings
) -> Iterator[tuple[int, Callable[[], Factors]]]:
    """After each epoch on the events before `ends` its number, from 1, and what copies the factors as they are then."""
    triples = TrainingTriples(dataset, ends)
    generator = torch.Generator().manual_seed(derive_seed(seed, "weights"))
    tables = _Tables(dataset.num_users, dataset.num_items, settings.dim, generator)
    optimizer = torch.optim.SparseAdam(tables.parameters(), lr=settings.learning_rate)
    is_trained = torch.zeros(dataset.num_users).index_fill(0, torch.as_tensor(triples.users), 1.0)
    for epoch in range(1, settings.epochs + 1):
        _run_epoch(tables, optimizer, triples.draw(numpy_generator(seed, "triples", epoch)), settings)
        yield epoch, lambda: tables.factors(is_trained)


def factor_scorer(factors: Factors, queries: Queries) -> VectorScorer:
    """Scores x_ui for the users of `queries`, whatever the history of a query."""
    return VectorScorer(factors.users[torch.as_tensor(queries.users)], factors.items)


def _run_epoch(
    tables: _Tables, optimizer: torch.optim.Optimizer, triples: tuple[Ints, Ints, Ints], settings: FactorSettings
) -> None:
    batches = zip(*(torch.split(torch.as_tensor(part), settings.batch_size) for part in triples), strict=True)
    # Without the choice torch warns about it.
    with torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]
        for batch in batches:
            optimizer.zero_grad()
            tables(*batch, settings.regularisation).backward()
            optimizer.step()
