"""What an engine is: something that maps a function over tasks, on several workers.

Data does not go through it. Tasks name files, in a directory that all workers share, and give back a few numbers. So
any scheduler of tasks will do, and a task may run twice: see `attempt`.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal, Protocol, TypeVar, get_args

from syncrec.errors import ConfigError, WorkerError

__all__ = ["ENGINE_NAMES", "Engine", "EngineName", "attempt", "open_engine"]

EngineName = Literal["processes", "dask"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


class Engine(Protocol):
    """Several workers; tasks, functions and results are pickled, so functions are named ones of this package."""

    @property
    def num_workers(self) -> int:
        """How many tasks run at a time."""

    def map(self, function: Callable[[_Task], _Result], tasks: Sequence[_Task]) -> Iterator[_Result]:
        """The results of all `tasks`, in their order, as they become known.

        Raises:
            SyncrecError: what the first task that failed raised.
            WorkerError: a worker died, or the cluster cannot be reached.
        """


@contextmanager
def open_engine(name: EngineName, num_workers: int | None = None, address: str | None = None) -> Iterator[Engine]:
    """The engine `name`, closed at the end.

    Args:
        name: `processes` of this machine, or `dask`.
        num_workers: how many workers to start here, by default one for each core that this process may use; with an
            `address` how many to wait for, by default one.
        address: of a Dask scheduler that runs already, or the path of its scheduler file; None starts workers here.

    Raises:
        ConfigError: a number of workers below 1, or an address without `dask`.
        MissingCapabilityError: the engine is not installed.
        WorkerError: the scheduler cannot be reached.
    """
    if num_workers is not None and num_workers < 1:
        raise ConfigError(f"workers must be at least 1, got {num_workers}")
    if name == "processes" and address is not None:
        raise ConfigError("an address is that of a Dask scheduler; the engine processes has none, take dask")
    with _opened(name, num_workers, address) as engine:
        yield engine


def _opened(name: EngineName, num_workers: int | None, address: str | None) -> AbstractContextManager[Engine]:
    if name == "processes":
        from syncrec.cluster.processes import process_engine

        return process_engine(num_workers)
    from syncrec.cluster.on_dask import dask_engine

    return dask_engine(num_workers, address)


@contextmanager
def attempt(target: Path) -> Iterator[Path]:
    """A directory of this attempt alone that becomes `target`, whole, when the block ends without an error.

    An engine may run a task again, even beside a worker it takes for dead. The first attempt that comes to its end
    counts; the result of another is the same and thrown away.

    Raises:
        WorkerError: this worker does not see the directory that `target` is to be in.
    """
    if not target.parent.is_dir():
        raise WorkerError(
            f"{target.parent}: not there on the worker on {socket.gethostname()}; "
            "--out must lie in a directory that all workers share"
        )
    stage = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield stage
        _write_through(stage)
        _move(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _write_through(directory: Path) -> None:
    """See that other machines find what was written: a network file system may keep what a memory map changed."""
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _move(stage: Path, target: Path) -> None:
    try:
        stage.rename(target)
    except OSError:
        if not target.is_dir():
            raise
