"""What the whole suite shares: one thread, hypothesis without deadlines, a tiny dataset on disk."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

from syncrec import artifacts
from syncrec.data.dataset import Dataset, DatasetArrays, write_dataset

torch.set_num_threads(1)
settings.register_profile("syncrec", deadline=None, max_examples=30)
settings.load_profile("syncrec")

DOMAINS = ("Books", "Food", "Tools")
DOMAIN_SIZES = (9, 1, 14)
NUM_USERS = 60


@pytest.fixture(autouse=True)
def one_thread():
    """Runs choose their own number of threads; the next test begins with one again."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_dataset_path(tmp_path_factory):
    """The directory of `tiny_dataset`."""
    path = tmp_path_factory.mktemp("tiny") / "dataset"
    with artifacts.staged_directory(path) as stage:
        write_dataset(stage, tiny_arrays(), {"settings": {"max_history": None}})
    return path


@pytest.fixture(scope="session")
def tiny_dataset(tiny_dataset_path):
    """60 users, 3 domains (one of a single item), histories of 1 to 14 events, leave-one-out; read only."""
    return Dataset(tiny_dataset_path)


def tiny_arrays():
    random = np.random.default_rng(7)
    starts = np.cumsum([0, *DOMAIN_SIZES])
    lengths = random.integers(1, 15, NUM_USERS)
    histories = [random_walk(random, length, starts) for length in lengths]
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    train_end = np.maximum(offsets[:-1], offsets[1:] - 2)
    trained = [e for h, s, t in zip(histories, offsets[:-1], train_end, strict=True) for e in h[: t - s]]
    return DatasetArrays(
        user_offsets=offsets,
        items=np.concatenate(histories).astype(np.int32),
        timestamps=np.arange(offsets[-1], dtype=np.int64),
        train_end=train_end,
        validation_end=np.maximum(offsets[:-1], offsets[1:] - 1),
        item_counts=np.bincount(trained, minlength=starts[-1]).astype(np.int64),
        users=[f"u{u:03d}" for u in range(NUM_USERS)],
        items_of_domain=[
            [f"{name[0]}{i:02d}" for i in range(n)] for name, n in zip(DOMAINS, DOMAIN_SIZES, strict=True)
        ],
        domains=DOMAINS,
    )


def random_walk(random, length, starts):
    """A history in which the next item of a domain is most often the one after the last."""
    place = [0] * len(DOMAIN_SIZES)
    events = []
    for domain in random.integers(0, len(DOMAIN_SIZES), length):
        step = 1 if random.random() < 0.8 else random.integers(0, DOMAIN_SIZES[domain])
        place[domain] = (place[domain] + step) % DOMAIN_SIZES[domain]
        events.append(starts[domain] + place[domain])
    return np.asarray(events, dtype=np.int64)
