"""The service as a process of its own, forked from one that has loaded everything already: loading takes seconds."""

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from postgres import free_port

from syncrec.cli import main

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["syncrec.pipeline", "syncrec.serving.http.server", "syncrec.cli.serve"])


def _serve(arguments, log, limit_bytes):
    """What the process does: the command `syncrec`, as `entry_point` runs it."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0)  # handed on to workers, which the one of multiprocessing cannot be
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(arguments))


class Server:
    """`syncrec serve` with these arguments; a context that kills what is left."""

    def __init__(self, *arguments, limit_bytes=None, workers=1):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = ["serve", *map(str, arguments), "--port", str(self.port), "--workers", str(workers)]
        self._limit = limit_bytes
        self._folder = tempfile.TemporaryDirectory(prefix="syncrec-test-server-")
        self._log = Path(self._folder.name) / "log"
        self.start()

    @property
    def lines(self):
        """What it has logged."""
        return self._log.read_text().splitlines()

    def start(self):
        self.process = _forks.Process(target=_serve, args=(self._arguments, str(self._log), self._limit))
        self.process.start()
        end = time.monotonic() + 150
        while time.monotonic() < end:
            assert self.process.is_alive(), self._log.read_text()
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
        raise AssertionError(f"the service does not get ready: {self._log.read_text()}")

    def kill(self):
        """Kill every process of it at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()

    def stop(self):
        """Ask it to stop; gives the exit code."""
        os.kill(self.process.pid, signal.SIGTERM)
        return self.ended()

    def ended(self):
        """The exit code, when it has ended."""
        self.process.join(60)
        return self.process.exitcode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.is_alive():
            self.kill()
        self._folder.cleanup()
