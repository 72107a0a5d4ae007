"""Runs of the grid as processes of their own: the same commands a person would type.

A run is `syncrec train ... --resume` and then one `syncrec evaluate` for each protocol; a model that is no run is one
`syncrec baseline`. So every number has its command, memory goes back to the system after each run, and a run that was
killed continues where it stopped.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from syncrec.errors import SyncrecError

__all__ = ["Job", "Outcome", "baseline_command", "evaluate_command", "run_queue", "train_command"]

_POLL_S = 0.5
_PREFIX = [sys.executable, "-m", "syncrec"]


@dataclass(frozen=True)
class Job:
    """Commands (arguments of `syncrec`), one after another, and the file that takes what they print.

    `run` is the directory that they write, of which another process may still be in possession.
    """

    name: str
    commands: Sequence[Sequence[str]]
    log: Path
    run: Path | None = None
    claim: IO[str] | None = None  # a locked file (`artifacts.claim`) that the commands' processes keep locked too


@dataclass(frozen=True)
class Outcome:
    """How a job ended: None, or the last line it printed before it failed; and whether that was by a signal."""

    job: Job
    seconds: float
    fault: str | None
    was_killed: bool = False


def train_command(dataset: Path, run: Path, config: Path) -> list[str]:
    """Train, or continue, one run."""
    return ["train", str(dataset), "--out", str(run), "--config", str(config), "--resume"]


def evaluate_command(run: Path, dataset: Path, protocol: str) -> list[str]:
    """Evaluate it on the test split, into its `results` folder."""
    return ["evaluate", str(run), "--dataset", str(dataset), "--protocol", protocol]


def baseline_command(model: str, dataset: Path, protocols: Sequence[str], refit: str, out: Path) -> list[str]:
    """Make a model that is no run and evaluate it on the test split, into the `results` folder of `out`."""
    asked = [word for protocol in protocols for word in ("--protocol", protocol)]
    return ["baseline", model, str(dataset), *asked, "--refit", refit, "--out", str(out)]


def run_queue(take: Callable[[], Job | bool], num_workers: int, finished: Callable[[Outcome], None]) -> None:
    """Run what `take` gives, `num_workers` at a time, until it has nothing; `finished` is told of each at once.

    Args:
        take: the next job; true if there may be one later, false if there will be none.
        num_workers: jobs at a time.
        finished: called in this thread, before the next `take`.

    Raises:
        KeyboardInterrupt: a signal came; the running jobs were told to save and stop.
    """
    with _Workers(num_workers) as workers:
        for outcome in workers.run(take):
            finished(outcome)


class _Workers:
    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count)
        self._count = count
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_stopping = False

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_stopping = True
            for process in self._running:
                process.send_signal(signal.SIGTERM)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, take: Callable[[], Job | bool]) -> Iterator[Outcome]:
        """The outcomes of the jobs that `take` gives, as they end."""
        pending: set[Future[Outcome]] = set()
        taken: Job | bool = True
        while taken or pending:
            while len(pending) < self._count and isinstance(taken := take(), Job):
                pending.add(self._pool.submit(self._work, taken))
            if not pending:
                if taken:
                    time.sleep(_POLL_S)
                continue
            done, pending = wait(pending, _POLL_S if taken else None, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
            taken = True

    def _work(self, job: Job) -> Outcome:
        begun = time.perf_counter()
        job.log.parent.mkdir(parents=True, exist_ok=True)
        calls = (self._call(command, job) for command in job.commands)
        fault, was_killed = next((ended for ended in calls if ended[0] is not None), (None, False))
        return Outcome(job, time.perf_counter() - begun, fault, was_killed)

    def _call(self, command: Sequence[str], job: Job) -> tuple[str | None, bool]:
        """Run one command to its end; None, or its last line if it failed, and whether it was killed by a signal."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"} if self._count > 1 else dict(os.environ)
        with job.log.open("ab") as out:
            begun = out.tell()
            with self._lock:
                if self._is_stopping:
                    return "stopped", False
                # A session of its own: Ctrl-C reaches this process alone, which then stops the others in order.
                process = subprocess.Popen(
                    [*_PREFIX, *command],
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                    pass_fds=() if job.claim is None or os.name != "posix" else (job.claim.fileno(),),
                )
                self._running.add(process)
            code = process.wait()
            with self._lock:
                self._running.discard(process)
        if code == 0:
            return None, False
        told = _last_line(job.log, begun)
        if code < 0:  # by a signal, and so without a word about it
            return f"killed by signal {-code}" + (f" after {told!r}" if told else ""), True
        return told or f"ended with status {code}", False


def _last_line(log: Path, begun: int) -> str:
    """The last line that is not blank from the byte `begun` on."""
    try:
        lines = log.read_bytes()[begun:].decode("utf-8", "replace").splitlines()
    except OSError as error:
        raise SyncrecError(f"{log}: cannot be read: {error.strerror}") from None
    return next((line for line in reversed(lines) if line.strip()), "")
