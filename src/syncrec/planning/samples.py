"""Datasets of a given shape, made from a seed: what benchmarks and `syncrec bench` measure on."""

import tempfile
from pathlib import Path

import numpy as np

from syncrec.artifacts import staged_directory
from syncrec.data.dataset import Dataset, DatasetArrays, write_dataset
from syncrec.rng import numpy_generator

__all__ = ["make_dataset", "skewed_lengths"]


def skewed_lengths(num_users: int, mean: float, longest: int, rng: np.random.Generator) -> np.ndarray:
    """History lengths, log-normal like those of MovieLens-100K (20 to 737, mean 106), at least 5."""
    raw = rng.lognormal(0.0, 0.8, num_users)
    return np.clip(raw / raw.mean() * mean, 5, longest).astype(np.int64)


def make_dataset(
    lengths: np.ndarray, sizes: list[int], *, seed: int = 0, path: Path | None = None, exponent: float = 0.8
) -> Dataset:
    """Users with histories of `lengths` over domains of `sizes` items, items drawn by a power law."""
    rng = numpy_generator(seed, "sample-log")
    offsets = np.cumsum([0, *sizes])
    domains = rng.integers(0, len(sizes), lengths.sum())
    items = np.empty(lengths.sum(), dtype=np.int32)
    for domain, size in enumerate(sizes):
        here = domains == domain
        weights = np.arange(1, size + 1) ** -exponent
        items[here] = offsets[domain] + rng.choice(size, here.sum(), p=weights / weights.sum())
    ends = np.cumsum(lengths)
    is_training = np.ones(len(items), dtype=bool)
    is_training[ends - 1] = is_training[ends - 2] = False
    arrays = DatasetArrays(
        user_offsets=np.concatenate([[0], ends]).astype(np.int64),
        items=items,
        timestamps=np.arange(len(items), dtype=np.int64),
        train_end=(ends - 2).astype(np.int64),
        validation_end=(ends - 1).astype(np.int64),
        item_counts=np.bincount(items[is_training], minlength=offsets[-1]).astype(np.int64),
        users=[f"u{i:09d}" for i in range(len(lengths))],
        items_of_domain=[[f"i{i:09d}" for i in range(size)] for size in sizes],
        domains=[f"d{d:02d}" for d in range(len(sizes))],
    )
    target = path or Path(tempfile.mkdtemp(prefix="syncrec-bench-")) / "dataset"
    with staged_directory(target, overwrite=True) as stage:
        write_dataset(stage, arrays, {"settings": {"max_history": None}})
    return Dataset(target)
