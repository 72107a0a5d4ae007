"""Vectors of items, near each other where the same users had them.

A truncated SVD of the matrix of users and items, as in PureSVD (Cremonesi, Koren, Turrin, RecSys 2010), here of the
one that is normalised on both sides, so that active users and popular items count no more than others.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.rng import numpy_generator

__all__ = ["co_occurrence_vectors"]

Floats = npt.NDArray[np.float32]
Matrix = Any  # scipy's sparse arrays have no types, and scipy is loaded when it is used

_NO_DIRECTION = 1e-6  # shorter ones are rounding errors
_MOST_WHOLE = 1000  # users or items


def co_occurrence_vectors(items_of: Matrix, dim: int) -> Floats:
    """Directions of items, float32 [I, dim], of length 1; 0 for an item that no user had.

    With fewer than `dim` independent users or items they lie in fewer dimensions, and the last columns are 0.

    Args:
        items_of: which items each user had, sparse [U, I].
        dim: of the vectors, at least 1.
    """
    from scipy.sparse import diags_array

    num_items = items_of.shape[1]
    smallest = min(items_of.shape)
    rank = min(dim, smallest if smallest <= _MOST_WHOLE else smallest - 1)
    if smallest < 2 or not items_of.nnz:
        return np.zeros((num_items, dim), dtype=np.float32)
    scales = [np.maximum(items_of.sum(axis), 1.0) ** -0.5 for axis in (1, 0)]
    values, right = _largest(diags_array(scales[0]) @ items_of @ diags_array(scales[1]), rank)
    vectors = np.zeros((num_items, dim), dtype=np.float32)
    vectors[:, :rank] = (right.T * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > _NO_DIRECTION)


def _largest(matrix: Matrix, rank: int) -> tuple[Any, Any]:
    """The `rank` largest singular values of a sparse matrix, ascending, and their right vectors [rank, columns].

    Users who share no item with anybody each add a value of 1. With many of these the usual iteration may give up, so a
    small matrix is decomposed whole, and where it gives up on a large one, another takes its place.
    """
    from scipy.sparse.linalg import ArpackError, svds

    if min(matrix.shape) <= _MOST_WHOLE:
        return _of_whole(matrix, rank)
    single = matrix.astype(np.float32)

    def start(size: int) -> npt.NDArray[np.float32]:
        return numpy_generator(0, "item-vectors").standard_normal(size).astype(np.float32)

    try:
        _, values, right = svds(single, k=rank, v0=start(min(matrix.shape)))
    except ArpackError:
        _, values, right = svds(single, k=rank, v0=start(matrix.shape[0]), solver="propack")
    return values, right


def _of_whole(matrix: Matrix, rank: int) -> tuple[Any, Any]:
    """The same from the eigenvectors of the smaller of the two products of the matrix with itself."""
    is_wide = matrix.shape[0] <= matrix.shape[1]
    product = (matrix @ matrix.T if is_wide else matrix.T @ matrix).toarray()
    squares, vectors = np.linalg.eigh(product)
    values, chosen = np.sqrt(np.maximum(squares[-rank:], 0)), vectors[:, -rank:]
    if not is_wide:
        return values, chosen.T
    return values, np.asarray((matrix.T @ chosen) / np.maximum(values, _NO_DIRECTION)).T
