"""Simulated logs of one to a hundred million events, written and prepared: time, memory and disk of each.

    python benchmarks/scale_prepare.py                       # half an hour on a quiet core, 25 GB in the folder
    python benchmarks/scale_prepare.py --events 1e6 1e7      # two minutes, 3 GB
    python benchmarks/scale_prepare.py --memory-share 10     # and the largest once more, with a tenth of it as memory

A log has a hundred events a user and an item for every hundred events, in eight domains. It is written by `syncrec
simulate` (as CSV, users one after another, and as a folder of Parquet files), and, for `no order`, by this script: the
same ids, users and items drawn for every row anew, popular ones more often, so that no two neighbouring rows belong
together. Each command is a process of its own with one Polars thread. Microseconds are those of the CPU and stand for
an event. `memory` is the peak of anonymous memory, which the system cannot take back; pages of mapped files come and go
with what is free. `disk` is the peak of what lies in the folder beside the log, the finished dataset included.

With `--memory-share N` the kernel refuses the process more than 1/N of the log's size (RLIMIT_DATA), and the row is
marked `limited`. Tables go into benchmarks/results/scale_prepare.md and .json.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from run_all import machine, to_markdown

PLACE = Path(__file__).parent / "results"
DOMAINS, EVENTS_PER_USER, EVENTS_PER_ITEM = 8, 100, 100
STACK_KIB = 1024  # RLIMIT_DATA counts whole stacks and what allocators keep back: both are made small
FRUGAL = {"MALLOC_ARENA_MAX": "1", "_RJEM_MALLOC_CONF": "retain:false,narenas:2,dirty_decay_ms:1000"}
ONE_THREAD = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
ROWS_AT_ONCE = 1_000_000


def write_unordered(path: Path, num_events: int) -> None:
    """A CSV log whose rows are in no order."""
    rng = np.random.default_rng(0)
    num_users, num_items = num_events // EVENTS_PER_USER, num_events // EVENTS_PER_ITEM
    with path.open("wb") as file:
        for start in range(0, num_events, ROWS_AT_ONCE):
            size = min(ROWS_AT_ONCE, num_events - start)
            items = (num_items * rng.random(size) ** 2).astype(np.int64)
            rows = {"u": rng.integers(0, num_users, size), "i": items, "d": items % DOMAINS}
            frame = pl.DataFrame({**rows, "timestamp": rng.integers(1_600_000_000, 1_700_000_000, size)})
            texts = frame.select(
                pl.format("user-{}", pl.col("u").cast(pl.String).str.zfill(7)).alias("user"),
                pl.format("positive-{}-{}", "d", pl.col("i").cast(pl.String).str.zfill(6)).alias("item"),
                pl.format("positive-{}", "d").alias("domain"),
                "timestamp",
            )
            texts.write_csv(file, include_header=not start)


class Watch:
    """Peaks of a process's anonymous memory and of a folder's size, looked at while it runs."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._status, self._folder = Path(f"/proc/{pid}/status"), folder
        self._before = size_of(folder)
        self.memory = self.disk = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        last_size = 0.0
        while not self._ends.wait(0.02):
            self.memory = max(self.memory, anonymous_bytes(self._status))
            if time.monotonic() - last_size > 0.1:
                self.disk = max(self.disk, size_of(self._folder) - self._before)
                last_size = time.monotonic()

    def stop(self) -> None:
        self._ends.set()
        self._thread.join()
        self.disk = max(self.disk, size_of(self._folder) - self._before)


def anonymous_bytes(status: Path) -> int:
    try:
        found = re.search(r"RssAnon:\s+(\d+)", status.read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) * 1024 if found else 0


def size_of(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).stat().st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def measured(arguments: Sequence[str], folder: Path, limit: int | None = None) -> dict[str, float]:
    """Wall and CPU seconds and peaks of a command of this package; `limit` in bytes of memory of its own."""
    limits = f"ulimit -s {STACK_KIB}" + (f"; ulimit -d {limit // 1024}" if limit else "")
    command = ["sh", "-c", f'{limits}; exec "$@"', "sh", sys.executable, "-m", "syncrec", *arguments]
    environment = {**os.environ, **ONE_THREAD, **(FRUGAL if limit else {})}
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    watch = Watch(process.pid, folder)
    _, status, usage = os.wait4(process.pid, 0)
    watch.stop()
    if status:
        sys.exit(f"syncrec {' '.join(arguments)} failed with status {status}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return {"wall_s": time.perf_counter() - begun, "cpu_s": cpu_s, "memory": watch.memory, "disk": watch.disk}


def row(name: str, num_events: int, found: dict[str, float], log_bytes: int) -> dict[str, Any]:
    return {
        "what": name,
        "events": num_events,
        "log_MB": round(log_bytes / 1e6),
        "wall_s": round(found["wall_s"], 1),
        "cpu_s": round(found["cpu_s"], 1),
        "cpu_us_per_event": round(found["cpu_s"] / num_events * 1e6, 2),
        "memory_MB": round(found["memory"] / 1e6),
        "log_by_memory": round(log_bytes / found["memory"], 1),
        "disk_MB": round(found["disk"] / 1e6),
    }


def simulate(out: Path, num_events: int) -> dict[str, Any]:
    """Write the log `out`; its row."""
    sizes = {"users": num_events // EVENTS_PER_USER, "items": num_events // EVENTS_PER_ITEM, "events": num_events}
    options = [part for name, size in sizes.items() for part in (f"--{name}", str(size))]
    found = measured(["simulate", *options, "--domains", str(DOMAINS), "--out", str(out)], out.parent)
    return row(f"simulate, {out.suffix[1:] or 'Parquet'}", num_events, found, bytes_of(out))


def bytes_of(log: Path) -> int:
    return log.stat().st_size if log.is_file() else sum(part.stat().st_size for part in log.iterdir())


def prepare(name: str, log: Path, num_events: int, share: int = 0) -> dict[str, Any]:
    """Prepare the log and remove the dataset; its row. With a `share`, in that part of the log's size as memory."""
    limit = bytes_of(log) // share if share else None
    out = log.parent / "dataset"
    files = str(log / "*.parquet") if log.is_dir() else str(log)
    found = measured(["prepare", files, "--out", str(out)], log.parent, limit)
    prepared = json.loads((out / "manifest.json").read_text())["statistics"]["events"]
    assert prepared == num_events, f"{prepared} events in the dataset of {num_events}"
    remove(out)
    return row(f"prepare, {name}", num_events, found, bytes_of(log))


def remove(place: Path) -> None:
    for path in [place] if place.is_file() else place.iterdir():
        path.unlink()
    if place.is_dir():
        place.rmdir()


def measure(num_events: int, folder: Path, share: int, note: Callable[[dict[str, Any]], None]) -> None:
    """All rows of one size; logs are removed as soon as they are used up."""
    log, parts = folder / "log.csv", folder / "log"
    note(simulate(parts, num_events))
    note(prepare("Parquet", parts, num_events))
    remove(parts)
    note(simulate(log, num_events))
    note(prepare("csv", log, num_events))
    if share:
        note(prepare(f"csv, limited to a share of 1/{share}", log, num_events, share))
    remove(log)
    write_unordered(log, num_events)
    note(prepare("csv, no order", log, num_events))
    if share:
        note(prepare(f"csv, no order, limited to a share of 1/{share}", log, num_events, share))
    remove(log)


def write(rows: list[dict[str, Any]]) -> None:
    facts = {**machine(), "threads": "1"}
    lines = "\n".join(f"- {key}: {value}" for key, value in facts.items())
    about = "`python benchmarks/scale_prepare.py`, whose first lines say how it is measured."
    text = "\n\n".join(["# Logs of a hundred million events", about, lines, to_markdown(rows)]) + "\n"
    (PLACE / "scale_prepare.md").write_text(text, encoding="utf-8")
    (PLACE / "scale_prepare.json").write_text(json.dumps({"machine": facts, "rows": rows}, indent=1) + "\n")


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=float, nargs="+", default=[1e6, 1e7, 1e8])
    parser.add_argument("--memory-share", type=int, default=0, help="prepare the largest log also in 1/N of its size")
    parser.add_argument("--folder", type=Path, help="where there is room; else a temporary one")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def note(found: dict[str, Any]) -> None:
        rows.append(found)
        print(found, flush=True)
        write(rows)

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for num_events in sorted(map(int, options.events)):
            share = options.memory_share if num_events == max(map(int, options.events)) else 0
            measure(num_events, Path(folder), share, note)


if __name__ == "__main__":
    main()
