"""How fast `prepare` and `recommend --all` are on one and on two workers of each engine, and in one process without.

    python benchmarks/cluster.py [--users 100000] [--scored-users 20000] [--files 8]

The log is that of `syncrec simulate`, cut by time into files. Each job is a command of its own, one after another;
every worker has one thread of Polars and of torch, and so has the process without workers. Wall clock includes the
start of everything; a second worker gains what a second core has free. CPU seconds are of all processes of a job.
Results must be the same to the byte (datasets) or row (recommendations), else the script fails.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SYNCREC = [sys.executable, "-m", "syncrec"]
WAYS = {
    "one process": [],
    **{f"{e}, {n}": ["--engine", e, "--workers", str(n)] for e in ("processes", "dask") for n in (1, 2)},
}
ONE_THREAD = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
TINY = ["model.dim=32", "training.epochs=1", "training.threads=1", "loss.kind=sampled", "training.batch_size=512"]


def call(*arguments: object) -> None:
    subprocess.run([*SYNCREC, *map(str, arguments)], check=True, env=ONE_THREAD, stdout=subprocess.DEVNULL, stderr=2)


def measure(*arguments: object) -> dict[str, float]:
    """Wall clock, and CPU seconds of the command and its ended children."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*SYNCREC, *map(str, arguments)], env=ONE_THREAD, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{arguments} failed")
    cpu_s = usage.ru_utime + usage.ru_stime
    return {"wall_s": time.perf_counter() - begun, "cpu_s": cpu_s}


def write_logs(directory: Path, num_users: int, num_files: int) -> int:
    """A simulated log cut by time; gives its number of events."""
    import polars as pl

    call("simulate", "--out", directory / "whole.csv", "--users", num_users)
    log = pl.read_csv(directory / "whole.csv", schema_overrides={"user": pl.String}).sort(
        "timestamp", maintain_order=True
    )
    (directory / "logs").mkdir()
    for number in range(num_files):
        start, stop = (len(log) * n // num_files for n in (number, number + 1))
        log[start:stop].write_csv(directory / "logs" / f"{number:03d}.csv")
    return len(log)


def measure_prepare(directory: Path) -> dict[str, dict[str, float]]:
    from syncrec.data.dataset import Dataset

    figures, checksums = {}, set()
    for way, options in WAYS.items():
        out = directory / "dataset"
        shutil.rmtree(out, ignore_errors=True)
        limits = ["--min-item-interactions", 5, "--min-user-domains", 2, "--max-history", 50, "--drop-repeats"]
        figures[way] = measure("prepare", directory / "logs" / "*.csv", "--out", out, *limits, *options)
        checksums.add(Dataset(out).checksum)
    assert len(checksums) == 1, checksums
    return figures


def measure_recommend(directory: Path, num_users: int) -> dict[str, dict[str, float]]:
    import polars as pl

    call("simulate", "--out", directory / "scored.csv", "--users", num_users)
    call("prepare", directory / "scored.csv", "--out", directory / "scored")
    settings = [word for setting in TINY for word in ("--set", setting)]
    call("train", directory / "scored", "--out", directory / "run", *settings)
    figures, frames = {}, []
    for way, options in WAYS.items():
        out = directory / "answers.parquet"
        figures[way] = measure("recommend", directory / "run", "--all", "--domain", "books", "--out", out, *options)
        frames.append(pl.read_parquet(out))
    assert all(frame.equals(frames[0]) for frame in frames)
    return figures


def show(title: str, figures: dict[str, dict[str, float]]) -> None:
    print(title)
    for way, row in figures.items():
        print(f"  {way:14} {row['wall_s']:6.1f} s wall {row['cpu_s']:6.1f} s CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--scored-users", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=8)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        num_events = write_logs(directory, options.users, options.files)
        prepared = measure_prepare(directory)
        show(f"prepare, {num_events:,} events in {options.files} files", prepared)
        scored = measure_recommend(directory, options.scored_users)
        show(f"recommend --all, {options.scored_users:,} users", scored)
    print(json.dumps({"events": num_events, "prepare": prepared, "recommend": scored}))


if __name__ == "__main__":
    main()
