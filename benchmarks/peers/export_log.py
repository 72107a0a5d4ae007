"""Write the log that the training benchmark uses (the shape of MovieLens-100K) for programs of other environments.

python benchmarks/peers/export_log.py log.npz
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from training import movielens_shape


def main() -> None:
    dataset = movielens_shape(1)
    starts, ends = np.asarray(dataset.user_offsets)[:-1], np.asarray(dataset.train_end)
    items = np.concatenate([dataset.items[start:end] for start, end in zip(starts, ends, strict=True)])
    np.savez(sys.argv[1], items=items, lengths=ends - starts, num_items=dataset.num_items)


if __name__ == "__main__":
    main()
