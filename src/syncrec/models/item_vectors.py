"""Item vectors to begin training from: near each other are items that the same users had.

A truncated SVD of the matrix of users and items, as in PureSVD (Cremonesi, Koren, Turrin, RecSys 2010), here of the
one that is normalised on both sides, so that active users and popular items count no more than others. Only the first
values of the item table come from it; training moves them as it moves random ones.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syncrec.data.dataset import Dataset
from syncrec.models.neighbours import user_items
from syncrec.rng import numpy_generator

__all__ = ["begin_from_co_occurrence", "co_occurrence_vectors"]

Floats = npt.NDArray[np.float32]
Matrix = Any  # scipy's sparse arrays have no types, and scipy is loaded when it is used

_NO_DIRECTION = 1e-6  # shorter ones are rounding errors


@torch.no_grad()
def begin_from_co_occurrence(
    table: Tensor, dataset: Dataset, ends: npt.NDArray[np.int64], together: npt.NDArray[np.int64]
) -> None:
    """Give the items of an embedding table their first values; an item without events keeps its own.

    Rows keep their length in the mean, so that what is learned from them moves as fast as before. Which axes the
    vectors lie along means nothing: they are turned at random, so that no part of a vector is larger than the others.
    The turn is drawn from the values that are replaced, and so differs from one training seed to the next.

    Args:
        table: of the embedding, float [at least I, dim].
        dataset: whose events are read.
        ends: event index where each user's training events end, int64 [U].
        together: a number for each domain [D]; domains with the same one are taken together.
    """
    items_of, dim = user_items(dataset, ends), table.shape[1]
    generator = numpy_generator(int(table[0].double().sum() * 2**40), "item-vectors")
    turn = np.linalg.qr(generator.standard_normal((dim, dim)))[0].astype(np.float32)
    number_of = together[dataset.domain_of(np.arange(dataset.num_items))]
    for number in np.unique(together):
        items = np.flatnonzero(number_of == number)
        directions = torch.as_tensor(co_occurrence_vectors(items_of[:, items], dim) @ turn, device=table.device)
        is_found = directions.any(1)
        found = torch.as_tensor(items, device=table.device)
        size = table[found].square().sum(1).mean().sqrt()
        table[found[is_found]] = size * directions[is_found]


def co_occurrence_vectors(items_of: Matrix, dim: int) -> Floats:
    """Directions of items, float32 [I, dim], of length 1; 0 for an item that no user had.

    With fewer than `dim` independent users or items they lie in fewer dimensions, and the last columns are 0.

    Args:
        items_of: which items each user had, sparse [U, I].
        dim: of the vectors, at least 1.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import svds

    num_items = items_of.shape[1]
    rank = min(dim, min(items_of.shape) - 1)
    if rank < 1 or not items_of.nnz:
        return np.zeros((num_items, dim), dtype=np.float32)
    scales = [np.maximum(items_of.sum(axis), 1.0) ** -0.5 for axis in (1, 0)]
    normalised = diags_array(scales[0]) @ items_of @ diags_array(scales[1])
    start = numpy_generator(0, "item-vectors").standard_normal(min(items_of.shape))
    _, values, right = svds(normalised.astype(np.float32), k=rank, v0=start.astype(np.float32))
    vectors = np.zeros((num_items, dim), dtype=np.float32)
    vectors[:, :rank] = (right.T * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > _NO_DIRECTION)
