"""The engine `processes`: workers are processes of this machine, from the standard library."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import TypeVar

from syncrec.errors import WorkerError

__all__ = ["ProcessEngine", "process_engine", "usable_cores", "worker_environment"]

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class ProcessEngine:
    """Workers in `pool`; the death of one ends the whole, since what killed it would most often kill the next."""

    def __init__(self, pool: ProcessPoolExecutor, num_workers: int) -> None:
        self._pool = pool
        self.num_workers = num_workers

    def map(self, function: Callable[[_Task], _Result], tasks: Sequence[_Task]) -> Iterator[_Result]:
        """As in `Engine`; after an error no task is running any more."""
        futures: list[Future[_Result]] = []
        try:
            with _signals_wait():
                futures += [self._pool.submit(function, task) for task in tasks]
            for future in futures:
                yield future.result()
        except BrokenProcessPool:
            raise WorkerError(
                "a worker process was killed, perhaps for want of memory; give it more, or take fewer --workers"
            ) from None
        finally:
            wait([future for future in futures if not future.cancel()])


@contextmanager
def process_engine(num_workers: int | None) -> Iterator[ProcessEngine]:
    """`num_workers` fresh processes, by default one for each core; they end with the block, and with this process."""
    count = num_workers or usable_cores()
    pool = ProcessPoolExecutor(count, get_context("spawn"), _begin_worker, (worker_environment(count),))
    try:
        yield ProcessEngine(pool, count)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C and SIGTERM come after the block, and to a process that is started in it once it is set up."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_environment(num_workers: int) -> dict[str, str]:
    """Variables that share this machine's cores among workers; those that the user has set stay."""
    threads = str(max(1, usable_cores() // num_workers))
    return {name: os.environ.get(name, threads) for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS")}


def _begin_worker(environment: dict[str, str]) -> None:
    """Set up a worker before it loads anything: Ctrl-C ends it without a word, and so does the end of its parent."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
