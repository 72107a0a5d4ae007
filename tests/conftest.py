"""What the whole suite shares: one thread, hypothesis without deadlines, a tiny dataset on disk."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job; Ctrl-C is tested in child processes
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import torch
from hypothesis import settings

import syncrec
from builders import tiny_arrays
from jobs import TINY, write_hostile_log
from syncrec import artifacts
from syncrec.data.dataset import Dataset, write_dataset

torch.set_num_threads(1)
settings.register_profile("syncrec", deadline=None, max_examples=30)
settings.load_profile("syncrec")


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


@pytest.fixture(scope="session")
def hostile_run(tmp_path_factory):
    """A trained and evaluated run on 50 users of three domains whose names are HTML; read only but for `results`."""
    folder = tmp_path_factory.mktemp("hostile")
    dataset = syncrec.prepare(write_hostile_log(folder / "log.csv"), out=folder / "data")
    run = syncrec.train(dataset, folder / "run", settings=TINY, show_progress=False)
    run.evaluate()
    return run
