"""How fast `prepare` is, beside a bare Polars scan and group-by of the same file.

    python benchmarks/prepare.py [--events 10000000] [--suffix .csv]

Each job runs in a process of its own, one after another, with two Polars threads. CPU seconds and peak memory are the
process's own, Python's start included; the wall clock depends on what else the machine does.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

DOMAINS = ("Books", "Films", "Music", "Maps", "Calls")
JOBS: dict[str, Callable[[Path, Path], None]] = {}


def job(function):
    JOBS[function.__name__] = function
    return function


def write_log(path: Path, num_events: int) -> None:
    """A log in no order: 20 events a user, popular and rare items, all of a year's seconds."""
    import numpy as np
    import polars as pl

    random = np.random.default_rng(0)
    users = random.integers(0, num_events // 20, num_events)
    items = (num_events // 50 * random.random(num_events) ** 2).astype(np.int64)
    frame = pl.DataFrame({"user": users, "item": items, "timestamp": random.integers(1.5e9, 1.53e9, num_events)})
    user = pl.format("A{}", pl.col("user").hash(1).cast(pl.String).str.head(12))
    domain = pl.col("item").mod(len(DOMAINS)).replace_strict(list(range(len(DOMAINS))), list(DOMAINS))
    log = frame.lazy().select(user, pl.format("B{}", pl.col("item")).alias("item"), domain.alias("domain"), "timestamp")
    log.sink_csv(path, compression={".gz": "gzip", ".zst": "zstd"}.get(path.suffix, "uncompressed"))


@job
def bare_group_by(log: Path, _: Path) -> None:
    """What any job on the file costs at least: read it and count by user."""
    import polars as pl

    pl.scan_csv(log).group_by("user").agg(pl.len(), pl.col("timestamp").max()).collect(engine="streaming")


@job
def prepare(log: Path, out: Path) -> None:
    """Without item limits."""
    run(log, out)


@job
def prepare_5_core(log: Path, out: Path) -> None:
    """With every filter."""
    run(log, out, min_item_interactions=5, min_user_domains=2, max_history=50, drop_repeats=True)


def run(log: Path, out: Path, **settings: object) -> None:
    from syncrec.config import PrepareConfig
    from syncrec.data.prepare import Source, prepare

    prepare([Source(str(log))], out, PrepareConfig(**settings))


def measure(name: str, log: Path, out: Path) -> dict[str, float]:
    """Wall and CPU seconds and peak memory of one job in a process of its own."""
    begun = time.perf_counter()
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, __file__, "--job", name, str(log), str(out)])
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{name} failed")
    cpu_s = usage.ru_utime + usage.ru_stime
    return {"wall_s": time.perf_counter() - begun, "cpu_s": cpu_s, "peak_mib": usage.ru_maxrss / 1024}


def measure_all(num_events: int, suffix: str, directory: Path) -> None:
    log = directory / f"log{suffix}"
    write_log(log, num_events)
    print(f"{num_events:,} events, {log.stat().st_size / 2**20:,.0f} MiB {suffix}")
    figures = {name: measure(name, log, directory / name) for name in JOBS}
    bare = figures["bare_group_by"]
    for name, row in figures.items():
        rates = ", ".join(f"{bare[key] / row[key]:.2f} of the bare rate by {key[:-2]}" for key in ("wall_s", "cpu_s"))
        print(f"{name:16} {row['wall_s']:6.1f} s wall {row['cpu_s']:6.1f} s CPU {row['peak_mib']:6.0f} MiB  {rates}")
    print(json.dumps({"events": num_events, **figures}))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--suffix", default=".csv", choices=[".csv", ".csv.gz", ".csv.zst"])
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    os.environ.setdefault("POLARS_MAX_THREADS", "2")
    if options.job:
        name, log, out = options.job
        JOBS[name](Path(log), Path(out))
        return
    with tempfile.TemporaryDirectory() as directory:
        measure_all(options.events, options.suffix, Path(directory))


if __name__ == "__main__":
    main(sys.argv[1:])
