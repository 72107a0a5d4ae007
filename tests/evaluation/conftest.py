"""A tiny dataset on disk, and scorers made of a plain matrix."""

from dataclasses import dataclass

import numpy as np
import pytest

from syncrec import artifacts
from syncrec.data.dataset import Dataset, DatasetArrays, write_dataset


@dataclass(frozen=True)
class MatrixScorer:
    """Row q, column i: the score of item i for query q."""

    matrix: np.ndarray

    def scores(self, queries, item_start, item_stop):
        return self.matrix[queries, item_start:item_stop]


@pytest.fixture
def matrix_scorer():
    return MatrixScorer


@pytest.fixture
def make_dataset(tmp_path):
    """Histories (lists of item indices, leave-one-out) and items a domain -> an opened dataset."""

    def make(histories, domain_sizes=(4, 6), name="dataset"):
        offsets = np.cumsum([0, *map(len, histories)]).astype(np.int64)
        items = np.array([item for history in histories for item in history], dtype=np.int32)
        stops = offsets[1:]
        arrays = DatasetArrays(
            user_offsets=offsets,
            items=items,
            timestamps=np.arange(len(items), dtype=np.int64),
            train_end=np.maximum(offsets[:-1], stops - 2),
            validation_end=np.maximum(offsets[:-1], stops - 1),
            item_counts=np.zeros(sum(domain_sizes), dtype=np.int64),
            users=[f"u{i:04d}" for i in range(len(histories))],
            items_of_domain=[[f"i{i:06d}" for i in range(size)] for size in domain_sizes],
            domains=["Food", "Kitchen", "Books"][: len(domain_sizes)],
        )
        with artifacts.staged_directory(tmp_path / name) as stage:
            write_dataset(stage, arrays, {"settings": {}})
        return Dataset(tmp_path / name)

    return make
