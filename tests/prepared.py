"""Prepared datasets written from histories, with arrays that a test may damage first."""

from dataclasses import replace

import numpy as np

from syncrec import artifacts
from syncrec.data.dataset import Dataset, DatasetArrays, write_dataset

DAY_S = 86_400
ITEMS = (("a0", "a1", "a2", "a3", "a4", "a5"), ("b0", "b1", "b2", "b3"))
CLEAN = [[0, 6, 1, 2, 7], [3, 1, 8, 0, 2], [2, 7, 0, 6], [5, 4]]


def arrays_of(histories, times=None):
    """Leave-one-out over histories of item numbers; items 0 to 5 are of domain A, 6 to 9 of B.

    Times by default: the i-th event of a user is at noon of day i, so nothing ties.
    """
    lengths = np.array([len(history) for history in histories])
    offsets = np.cumsum([0, *lengths])
    asked = (lengths >= 3).astype(np.int64)
    items = np.array([item for history in histories for item in history], dtype=np.int32)
    train_end = offsets[1:] - 2 * asked
    trained = np.concatenate([items[a:b] for a, b in zip(offsets[:-1], train_end, strict=True)])
    by_default = [[i * DAY_S + DAY_S // 2 for i in range(n)] for n in lengths]
    return DatasetArrays(
        user_offsets=offsets,
        items=items,
        timestamps=np.array([t for row in (times or by_default) for t in row], dtype=np.int64),
        train_end=train_end,
        validation_end=offsets[1:] - asked,
        item_counts=np.bincount(trained, minlength=10),
        users=[f"u{user:02d}" for user in range(len(histories))],
        items_of_domain=ITEMS,
        domains=("A", "B"),
    )


def write(path, arrays, split="leave-one-out", **changes):
    """The dataset of `arrays`, with `changes` of whole arrays, opened without a look at its content."""
    with artifacts.staged_directory(path) as stage:
        write_dataset(stage, replace(arrays, **changes), {"settings": {"split": split, "max_history": None}})
    return Dataset(path, check_content=False)
