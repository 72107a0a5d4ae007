"""The service as processes of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from postgres import free_port


class Server:
    """`syncrec serve` with these arguments; a context that kills what is left."""

    def __init__(self, *arguments, limit_bytes=None, workers=1):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "syncrec", "serve", *map(str, arguments)]
        self._command = [*command, "--port", str(self.port), "--workers", str(workers)]
        self._limit = limit_bytes
        self.process = None
        self.start()

    def start(self):
        before = f"ulimit -f {self._limit // 1024}; " if self._limit else ""
        shell = ["bash", "-c", f'{before}exec "$@"', "serve", *self._command]
        self.process = subprocess.Popen(
            shell,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.lines = []
        self._read_stderr()
        self._wait()

    def _read_stderr(self):
        stream = self.process.stderr
        self.reader = threading.Thread(target=lambda: self.lines.extend(iter(stream.readline, b"")), daemon=True)
        self.reader.start()

    def _wait(self):
        for _ in range(1200):
            assert self.process.poll() is None, b"".join(self.lines).decode()
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise AssertionError("the service does not get ready")

    def kill(self):
        """Kill every process of it at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout=60):
        """Ask it to stop; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self.reader.join(5)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        self.process.stderr.close()
