"""Worker processes behind one port."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from uvicorn.supervisors import Multiprocess

from syncrec.errors import ConfigError
from syncrec.serving.arms import ExperimentArms
from syncrec.serving.http.app import OPTIONS_VARIABLE, open_registry
from syncrec.serving.http.keys import KeyRing
from syncrec.serving.http.logs import set_up_logs
from syncrec.serving.http.protocol import TimedProtocol
from syncrec.serving.settings import ServeOptions
from syncrec.serving.store.events import EventStore

__all__ = ["serve", "state_folder"]

_METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_KEEP_ALIVE_S = 30
_BACKLOG = 1024
_WORKER_SILENCE_S = 15  # a worker that is silent for so long is replaced


@contextlib.contextmanager
def state_folder(workers: int) -> Iterator[Path]:
    """A folder that the workers of one service share, and where they put their metrics together."""
    with tempfile.TemporaryDirectory(prefix="syncrec-serve-") as name:
        if workers > 1:
            metrics = Path(name) / "metrics"
            metrics.mkdir()
            os.environ[_METRICS_VARIABLE] = str(metrics)
        try:
            yield Path(name)
        finally:
            os.environ.pop(_METRICS_VARIABLE, None)


def serve(options: ServeOptions, host: str, port: int) -> None:
    """Serve until a signal comes; requests that run then are finished.

    Everything is opened once before the first worker begins, so that what is wrong is told here, in one line.

    Raises:
        SyncrecError: a run, the store, the item table or the keys cannot be used.
        ConfigError: the port is taken.
    """
    _check(options)
    os.environ[OPTIONS_VARIABLE] = options.model_dump_json()
    set_up_logs()
    config = uvicorn.Config(
        "syncrec.serving.http.app:from_environment",
        factory=True,
        host=host,
        port=port,
        workers=options.workers,
        loop="auto",
        http=TimedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_worker_healthcheck=_WORKER_SILENCE_S,
        timeout_graceful_shutdown=int(options.settings.stop_timeout_s),
    )
    try:
        socket = config.bind_socket()
    except SystemExit:
        raise ConfigError(f"{host}:{port} cannot be listened on; choose another --host or --port") from None
    with socket:
        if options.workers > 1:
            Multiprocess(config, sockets=[socket]).run()
        else:
            with contextlib.suppress(KeyboardInterrupt):  # raised again once everything has ended
                uvicorn.Server(config).run(sockets=[socket])


def _check(options: ServeOptions) -> None:
    if options.keys is not None:
        KeyRing.load(options.keys)
    EventStore(options.store).close()
    open_registry(options)
    if options.experiment is not None:
        ExperimentArms(options.experiment, options.runs)
