"""Item vectors to begin training from: near each other are items that the same users had.

Only the first values of the item table come from co-occurrence; training moves them as it moves random ones.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syncrec.data.dataset import Dataset
from syncrec.models.co_occurrence import co_occurrence_vectors
from syncrec.models.neighbours import user_items
from syncrec.rng import numpy_generator

__all__ = ["begin_from_co_occurrence"]


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
