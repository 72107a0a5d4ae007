"""Several real processes that train together, each joined over gloo as a launcher would have it."""

import multiprocessing
import socket

import members
import pytest

from builders import tiny_arrays
from syncrec import artifacts
from syncrec.data.dataset import write_dataset

# What a training imports late is imported once, before the processes part.
_PRELOADED = ["torch._dynamo", "torch.distributed.fsdp", "scipy.sparse.linalg", "syncrec.pipeline"]


@pytest.fixture(scope="session")
def in_processes():
    """`in_processes(function, size, *arguments)`: what each of `size` processes gives, in order of their ranks.

    An exception of a process comes back in the place of its value.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)

    def run(function, size, *arguments):
        port = _free_port()
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        started = [
            context.Process(target=members.run, args=(pipe[1], rank, size, port, function, arguments))
            for rank, pipe in enumerate(pipes)
        ]
        for process in started:
            process.start()
        try:
            return [_received(pipe[0], process) for pipe, process in zip(pipes, started, strict=True)]
        finally:
            for process in started:
                process.kill()
                process.join()

    return run


def _received(pipe, process):
    for _ in range(1200):
        if pipe.poll(0.1):
            return pipe.recv()
        if not process.is_alive() and not pipe.poll(0):
            return process.exitcode
    raise TimeoutError(f"process {process.pid} gave nothing in two minutes")


def _free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


@pytest.fixture(scope="session")
def make_dataset_path(tmp_path_factory):
    """`make_dataset_path(sizes)`: a dataset of 60 users, with domains of these sizes."""

    def make(sizes):
        path = tmp_path_factory.mktemp("shared") / "dataset"
        with artifacts.staged_directory(path) as stage:
            write_dataset(stage, tiny_arrays(sizes), {"settings": {"max_history": None}})
        return path

    return make


@pytest.fixture(scope="session")
def shared_dataset_path(make_dataset_path):
    """60 users, 3 domains. None of a single item: its loss is 0, and Adam makes a step of rounding."""
    return make_dataset_path((9, 6, 14))
