"""The service under load, on the loopback interface: how long an answer takes at a given rate, and what it costs.

    python benchmarks/serving.py                            # a minute or two; table into benchmarks/results/serving.md
    python benchmarks/serving.py --store postgresql://...   # events in PostgreSQL instead of SQLite

Three domains of 50,000 items, dim 64, histories of 50 events, weights as they are drawn. Requests come at fixed times,
whether earlier ones are answered or not, and a latency counts from the time at which the request was due: a service
that falls behind shows. Answers a second are counted from the first request's time to the last answer. Generator and
service share the machine; the load of everything else is in the table, as the mean number of processes that wanted a
core when the measurement began. Where Debian's `wrk` is installed (`apt-get install wrk`), it asks as well: it is
written in C and leaves the service more of the machine. Memory is that of all processes of the service, pages that
several share counted once (PSS); start is the time from the command to the first good answer of /readyz.
"""

import argparse
import asyncio
import gc
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from run_all import machine, to_markdown
from syncrec.checkpoint import save_checkpoint
from syncrec.config import load_config
from syncrec.data.catalogue import Catalogue
from syncrec.models.registry import build_model
from syncrec.planning.samples import make_dataset
from syncrec.runs import BEST_NAME, RunDirectory

NUM_USERS = 5_000
CONNECTIONS = 64
RATES = (50, 100, 200, 300, 400, 500)
PLACE = Path(__file__).parent / "results"


def make_run(folder: Path) -> Path:
    """A run with fresh weights: what it answers is of no use, but takes as long."""
    dataset = make_dataset(np.full(NUM_USERS, 60), [50_000] * 3, path=folder / "dataset")
    config = load_config()
    directory = RunDirectory.create(folder / "run", config, dataset)
    torch.manual_seed(0)
    model = build_model(Catalogue.of(dataset), config.model)
    state = {"epoch": 0, "fusion_weights": dict.fromkeys(dataset.domains, 0.5)}
    save_checkpoint(directory.path / BEST_NAME, {"model": model.state_dict()}, state)
    return directory.path


class Server:
    """`syncrec serve` as processes of its own."""

    def __init__(self, run: Path, store: str, workers: int, port: int) -> None:
        self.port = port
        options = ["--store", store, "--workers", str(workers), "--port", str(port)]
        environment, begun = {**os.environ, "OMP_NUM_THREADS": "1"}, time.perf_counter()
        command = [sys.executable, "-m", "syncrec", "serve", str(run), *options]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
        self._wait()
        self.start_seconds = time.perf_counter() - begun

    def _wait(self) -> None:
        for _ in range(3_000):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                    return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("the service does not get ready")

    def cpu_seconds(self) -> float:
        """CPU time of the service's processes so far."""
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._pids()]
        return sum(int(entry[11]) + int(entry[12]) for entry in fields) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Memory of the service's processes now."""
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self._pids()]
        return sum(int(text.partition("\nPss:")[2].split()[0]) for text in rollups) / 1024

    def _pids(self) -> list[int]:
        own = self._process.pid
        return [own, *map(int, Path(f"/proc/{own}/task/{own}/children").read_text().split())]

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)


@dataclass
class Load:
    """Sends requests over kept connections and remembers what became of them."""

    port: int
    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    begun: float = 0.0  # when the first request was due
    ended: float = 0.0  # when the last answer was there
    _free: "asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]" = field(default_factory=asyncio.Queue)

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await asyncio.open_connection("127.0.0.1", self.port))
        self.begun = time.perf_counter()

    async def send(self, path: str, body: bytes, due: float) -> None:
        connection = await self._free.get()
        reader, writer = connection
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        self._free.put_nowait(connection)
        self.ended = time.perf_counter()
        self.latencies.append(self.ended - due)
        self.failures += not answer.startswith(b"HTTP/1.1 200")


def question(rng: np.random.Generator) -> bytes:
    user, domain = f"u{rng.integers(NUM_USERS):09d}", f"d{rng.integers(3):02d}"
    return json.dumps({"user": user, "domain": domain, "k": 20}).encode()


async def at_rate(port: int, rate: float, seconds: float) -> Load:
    """Questions at even distances in time."""
    load, rng, tasks = Load(port), np.random.default_rng(0), []
    await load.open()
    for number in range(int(rate * seconds)):
        due = load.begun + number / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(load.send("/v1/recommendations", question(rng), due)))
    await asyncio.gather(*tasks)
    return load


async def as_fast_as_possible(port: int, path: str, bodies: Any, seconds: float, clients: int) -> Load:
    """`clients` that send again as soon as they are answered."""
    load = Load(port)
    await load.open()
    end = load.begun + seconds

    async def client() -> None:
        while time.perf_counter() < end:
            await load.send(path, next(bodies), time.perf_counter())

    await asyncio.gather(*(client() for _ in range(clients)))
    return load


def row(name: str, server: Server, measure: Any) -> dict[str, Any]:
    load_before, cpu = os.getloadavg()[0], server.cpu_seconds()
    load = asyncio.run(measure)
    wall, ms = load.ended - load.begun, 1000 * np.asarray(load.latencies)
    p50, p99, p999 = np.percentile(ms, [50, 99, 99.9])
    return {
        "name": name,
        "answers_per_second": round(len(ms) / wall, 1),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "p99.9_ms": round(p999, 1),
        "failed": load.failures,
        "cpu_ms_per_answer": round(1000 * (server.cpu_seconds() - cpu) / len(ms), 2),
        "load_before": round(load_before, 1),
    }


WRK_SCRIPT = """
math.randomseed(7)
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
request = function()
  local user, domain = math.random(0, %d), math.random(0, 2)
  return wrk.format(nil, nil, nil, string.format('{"user": "u%%09d", "domain": "d%%02d", "k": 20}', user, domain))
end
"""


def wrk_row(name: str, server: Server, folder: Path, seconds: float) -> dict[str, Any]:
    """32 clients of `wrk` that send again as soon as they are answered."""
    script = folder / "questions.lua"
    script.write_text(WRK_SCRIPT % (NUM_USERS - 1))
    load_before, cpu = os.getloadavg()[0], server.cpu_seconds()
    options = ["-t1", "-c32", f"-d{seconds:.0f}s", "--latency", "-s", str(script)]
    command = ["wrk", *options, f"http://127.0.0.1:{server.port}/v1/recommendations"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    times = dict(re.findall(r"^ +(50|99)% +([0-9.]+ms|[0-9.]+s|[0-9.]+us)$", said, re.M))
    count = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return {
        "name": name,
        "answers_per_second": round(float(re.search(r"Requests/sec: +([0-9.]+)", said)[1]), 1),  # type: ignore[index]
        "p50_ms": milliseconds(times["50"]),
        "p99_ms": milliseconds(times["99"]),
        "p99.9_ms": "",
        "failed": int(failed[1]) if failed else 0,
        "cpu_ms_per_answer": round(1000 * (server.cpu_seconds() - cpu) / count, 2),
        "load_before": round(load_before, 1),
    }


def milliseconds(text: str) -> float:
    """A time as `wrk` writes it."""
    number, unit = re.fullmatch(r"([0-9.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return round(float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit], 1)


def events(size: int) -> Any:
    number = 0
    while True:
        number += 1
        event = {"kind": "click", "user": f"u{number % NUM_USERS:09d}", "domain": "d00", "item": "i000000001"}
        yield json.dumps([event] * size).encode()


def questions() -> Any:
    rng = np.random.default_rng(1)
    while True:
        yield question(rng)


def measure_workers(
    run: Path, store: str, workers: int, seconds: float, port: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The curve, and what the service needs before and after it."""
    name = f"{workers} worker{'s' if workers > 1 else ''}"
    with Server(run, store, workers, port) as server:
        needs = {
            "name": name,
            "start_seconds": round(server.start_seconds, 1),
            "mb_at_start": round(server.memory_mb()),
        }
        asyncio.run(at_rate(port, 50, 2))
        rows = [row(f"{name}, {rate} a second", server, at_rate(port, rate, seconds)) for rate in RATES]
        ask = as_fast_as_possible(port, "/v1/recommendations", questions(), seconds, 32)
        rows.append(row(f"{name}, 32 clients without a pause", server, ask))
        if shutil.which("wrk"):
            rows.append(wrk_row(f"{name}, 32 clients of wrk", server, run.parent, seconds))
        for size in (1, 100):
            send = as_fast_as_possible(port, "/v1/events", events(size), seconds / 2, 16)
            rows.append(row(f"{name}, 16 clients that send {size} event{'s' if size > 1 else ''}", server, send))
        needs["mb_after_load"] = round(server.memory_mb())
    return rows, needs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="where events go; a SQLite file by default")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path, default=PLACE / "serving.md")
    options = parser.parse_args()
    rows, needs = [], []
    with tempfile.TemporaryDirectory() as name:
        run = make_run(Path(name))
        gc.freeze()  # a generator that looks for garbage sends nothing for a tenth of a second
        for workers in options.workers:
            store = options.store or f"sqlite:///{name}/events-{workers}.db"
            found, needed = measure_workers(run, store, workers, options.seconds, free_port())
            rows, needs = [*rows, *found], [*needs, needed]
            print(to_markdown(found), to_markdown([needed]), sep="\n\n", flush=True)
    facts = "\n".join(f"- {key}: {value}" for key, value in machine().items() if key != "threads")
    about = (
        "`python benchmarks/serving.py`, whose first lines say how it is measured. Where `load_before` is above the "
        "number of cores, other work took most of them: then latencies and rates tell little, and CPU time an answer "
        "tells more."
    )
    tables = [to_markdown(rows), "## Start and memory", to_markdown(needs)]
    options.out.write_text("\n\n".join(["# The service under load", about, facts, *tables]) + "\n")


if __name__ == "__main__":
    main()
