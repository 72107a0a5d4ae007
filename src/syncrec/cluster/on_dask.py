"""The engine `dask`: workers of Dask's distributed scheduler, started here or part of a cluster that runs already."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from syncrec.cluster.processes import usable_cores, worker_environment
from syncrec.errors import MissingCapabilityError, WorkerError

__all__ = ["DaskEngine", "dask_engine"]

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_CONNECT_TIMEOUT_S = 60
_WORKERS_TIMEOUT_S = 60


class DaskEngine:
    """Workers of a Dask `client`; what a worker was at when it died is done again by another one, three times."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def num_workers(self) -> int:
        """Threads of all workers that are there now."""
        return max(1, sum(self._client.nthreads().values()))

    def map(self, function: Callable[[_Task], _Result], tasks: Sequence[_Task]) -> Iterator[_Result]:
        """As in `Engine`."""
        from distributed import CancelledError, KilledWorker

        futures = self._client.map(function, tasks, pure=False)
        try:
            for future in futures:
                yield future.result()
        except KilledWorker:
            raise WorkerError(
                "four workers died at the same task, perhaps for want of memory; give workers more of it"
            ) from None
        except CancelledError:
            raise WorkerError("the Dask scheduler went away; start it again, and then this command") from None
        finally:
            self._client.cancel(futures)


@contextmanager
def dask_engine(num_workers: int | None, address: str | None) -> Iterator[DaskEngine]:
    """Workers at `address`, or fresh ones on this machine; as in `open_engine`."""
    try:
        from distributed import Client
    except ImportError:
        raise MissingCapabilityError("distributed is not installed; pip install 'syncrec[cluster]'") from None
    if address is None:
        with _local_cluster(num_workers or usable_cores()) as cluster, Client(cluster) as client:
            yield DaskEngine(client)
        return
    with _connected(address) as client:
        _wait_for_workers(client, num_workers or 1, address)
        yield DaskEngine(client)


def _local_cluster(num_workers: int) -> Any:
    """Processes of one thread each; memory maps count as memory of their process, so it is not limited here."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=num_workers,
        threads_per_worker=1,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        env=worker_environment(num_workers),
    )


def _connected(address: str) -> Any:
    from distributed import Client

    place = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        return Client(**place, timeout=_CONNECT_TIMEOUT_S)
    except (OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise WorkerError(
            f"{address}: no Dask scheduler answers there ({reason}); give tcp://HOST:PORT or its scheduler file"
        ) from None


def _wait_for_workers(client: Any, num_workers: int, address: str) -> None:
    try:
        client.wait_for_workers(num_workers, timeout=_WORKERS_TIMEOUT_S)
    except TimeoutError:
        found = len(client.nthreads())
        raise WorkerError(
            f"{address}: {found} of {num_workers} workers came within {_WORKERS_TIMEOUT_S} s; "
            "start more, or ask for fewer"
        ) from None
