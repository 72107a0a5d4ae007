"""The best items of a domain for query vectors: by all products, or for large catalogues by an inverted-file index.

Up to some hundred thousand items exact search takes milliseconds. Above, faiss (Johnson, Douze, Jegou, IEEE Trans. Big
Data 2021) compares a query with the items of some cells of the space only. How many cells it takes for a recall of .99
depends on the vectors, so it is measured with real questions when a run is opened.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syncrec import artifacts

if TYPE_CHECKING:
    import faiss

__all__ = ["ApproximateRetrieval", "ExactRetrieval", "Excluded", "Measured", "Retrieval", "build_index", "load_index"]

Excluded = npt.NDArray[np.bool_]  # [I], true for items that must not be answered
Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]

_RECALL_AT = 100
_WANTED_RECALL = 0.99
_GROUP = 64  # scores whose maximum is taken at once
_FEW = 1_000  # excluded items that a search simply looks past
_FIRST_PROBES = 4
_POINTS_A_CELL = 64  # to place the cells by


class Retrieval(Protocol):
    """Finds the best items of one domain."""

    def best(self, queries: Tensor, k: int, excluded: Sequence[Excluded | None]) -> list[Found]:
        """For each query (float32 [n, dim]) at most `k` places of items and their scores, best first."""


class ExactRetrieval:
    """All products. Vectors lie column by column: for one query that is three times as fast as row by row."""

    def __init__(self, items: Tensor) -> None:
        """`items`: float32 [I, dim]."""
        self._columns = items.T.contiguous()

    def best(self, queries: Tensor, k: int, excluded: Sequence[Excluded | None]) -> list[Found]:
        """The best `k`, without error."""
        scores = (queries @ self._columns).numpy()
        for row, mask in zip(scores, excluded, strict=True):
            if mask is not None:
                row[mask] = -np.inf
        return [_best_of(row, k) for row in scores]


@dataclass(frozen=True)
class Measured:
    """How an index does: cells in all and looked at, share of the true best 100 that it finds, time of a search."""

    num_cells: int
    num_probed: int
    recall: float
    search_ms: float


class ApproximateRetrieval:
    """An inverted-file index; scores are exact, and of the true best items the share `measured.recall` is found.

    Where many items are excluded, those that are left are compared one by one.
    """

    def __init__(self, items: Tensor, index: "faiss.IndexIVF", questions: Tensor) -> None:
        """Choose how many cells are looked at.

        Args:
            items: float32 [I, dim], all in the index, in this order.
            index: over them.
            questions: float32 [n, dim], real ones, to measure with.
        """
        import faiss

        faiss.omp_set_num_threads(1)  # as torch in a worker; an index that was read searches with all cores otherwise
        self._items, self._index = items.contiguous(), index
        self.measured = self._calibrate(questions)

    def best(self, queries: Tensor, k: int, excluded: Sequence[Excluded | None]) -> list[Found]:
        """The best `k` of the items that are looked at."""
        hidden = [0 if mask is None else int(mask.sum()) for mask in excluded]
        found: list[Found | None] = [None] * len(queries)
        rows = [row for row, count in enumerate(hidden) if count <= _FEW]
        if rows:
            places = self._search(queries[rows], k + max(hidden[row] for row in rows))
            for row, near in zip(rows, places, strict=True):
                found[row] = self._scored(queries[row], _kept(near, excluded[row]), k)
        for row, mask in enumerate(excluded):
            if found[row] is None and mask is not None:
                found[row] = self._scored(queries[row], np.flatnonzero(~mask), k)
        return [each for each in found if each is not None]

    def _search(self, queries: Tensor, k: int) -> npt.NDArray[np.int64]:
        """Places of the best `k`, -1 where fewer are found."""
        places: npt.NDArray[np.int64] = self._index.search(queries.numpy(), min(k, len(self._items)))[1]
        return places

    def _scored(self, query: Tensor, places: npt.NDArray[np.int64], k: int) -> Found:
        scores = self._items[torch.from_numpy(places)] @ query
        best = scores.topk(min(k, len(scores)))
        return places[best.indices.numpy()], best.values.numpy()

    def _calibrate(self, questions: Tensor) -> Measured:
        """Look at more and more cells until the recall is reached."""
        k = min(_RECALL_AT, len(self._items))
        true = [place for place, _ in ExactRetrieval(self._items).best(questions, k, [None] * len(questions))]
        probes = _FIRST_PROBES
        while True:
            self._index.nprobe = min(probes, self._index.nlist)
            begun = time.perf_counter()
            found = [self._search(question[None], k)[0] for question in questions]
            ms = (time.perf_counter() - begun) / len(questions) * 1000
            recall = float(np.mean([np.isin(t, f).mean() for t, f in zip(true, found, strict=True)]))
            if recall >= _WANTED_RECALL or self._index.nprobe == self._index.nlist:
                return Measured(self._index.nlist, self._index.nprobe, recall, ms)
            probes = probes * 5 // 4 + 1


def build_index(items: Tensor) -> "faiss.IndexIVF":
    """An index over `items`, float32 [I, dim]: cells by k-means, vectors in half precision; the same every time."""
    import faiss

    faiss.omp_set_num_threads(1)
    num_items, dim = items.shape
    num_cells = max(1, min(round(4 * num_items**0.5), num_items // 8))
    index = cast("faiss.IndexIVF", faiss.index_factory(dim, f"IVF{num_cells},SQfp16", faiss.METRIC_INNER_PRODUCT))
    index.cp.max_points_per_centroid = _POINTS_A_CELL
    index.cp.spherical = True
    vectors = items.numpy()
    index.train(vectors)
    index.add(vectors)
    return index


def load_index(items: Tensor, file: Path) -> "faiss.IndexIVF":
    """The index in `file`, which is built if it is not there yet."""
    import faiss

    if not file.exists():
        with artifacts.replaced_file(file) as place:
            faiss.write_index(build_index(items), str(place))
    return cast("faiss.IndexIVF", faiss.read_index(str(file)))


def _kept(places: npt.NDArray[np.int64], mask: Excluded | None) -> npt.NDArray[np.int64]:
    places = places[places >= 0]
    return places if mask is None else places[~mask[places]]


def _best_of(scores: npt.NDArray[np.float32], k: int) -> Found:
    """Places and values of the `k` highest finite `scores` [I], best first.

    The `k` highest lie in the `k` groups with the highest maxima; so most scores are looked at once, to take maxima.
    Group g holds every n-th score from the g-th on, n groups in all, since maxima of columns are taken at full speed.
    """
    size = len(scores)
    num_groups, places = size // _GROUP, None
    if num_groups > 2 * k:
        in_groups = scores[: num_groups * _GROUP].reshape(_GROUP, num_groups)
        groups = np.argpartition(np.maximum.reduce(in_groups, axis=0), -k)[-k:]
        rest = np.arange(num_groups * _GROUP, size)
        places = np.concatenate([(groups + num_groups * np.arange(_GROUP)[:, None]).ravel(), rest])
        scores = scores[places]
    if k < len(scores):
        chosen = np.argpartition(scores, -k)[-k:]
        places, scores = chosen if places is None else places[chosen], scores[chosen]
    order = np.argsort(-scores, kind="stable")
    order = order[np.isfinite(scores[order])]
    return order if places is None else places[order], scores[order]
