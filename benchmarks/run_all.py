"""Every benchmark in one table: Markdown and JSON under `benchmarks/results/`.

    python benchmarks/run_all.py                       # about 10 minutes on one core
    python benchmarks/run_all.py --peer PYTHON         # also RePlay's SASRec, with the interpreter of its environment
    python benchmarks/run_all.py --skip prepare        # leave one out: its figures of the last run stay

Each benchmark is a process of its own, on one thread, in CPU seconds; ratios inside one table compare, figures of two
runs do not.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
TRAINING = ("main", "padding", "growth", "catalogue")
TITLES = {
    "main": "Training at the shape of MovieLens-100K (943 users, 1,682 items, 100,000 events; dim 64, 2 layers)",
    "padding": "Padding: histories all full, and a third of T on average",
    "growth": "How the cost of training grows (sampled softmax, 1,024 negatives, K = 5 unless said otherwise)",
    "catalogue": "Full softmax over large catalogues (K = 5, D = 5, 16 users a step)",
    "evaluation": "Full-ranking evaluation, dim 64, one answer",
    "start": "Start of the command line, wall-clock seconds, the best of five",
    "peer": "Beside RePlay 0.22: SASRec, full softmax, the same log and settings; float32, rounds in turn",
}


def run(script: str, *arguments: str, interpreter: str = sys.executable) -> str:
    """What the script prints."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2"}
    command = [interpreter, str(HERE / script), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def rows_of(script: str, *arguments: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "rows.json"
        run(script, *arguments, "--json", str(place))
        return json.loads(place.read_text())


def to_markdown(rows: list[dict[str, Any]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{v:,}" if isinstance(v, (int, float)) else str(v) for v in row.values()] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def peer_rows(interpreter: str, rounds: int = 3) -> list[dict[str, Any]]:
    """RePlay's SASRec and ours on the same log, in turn; medians over the rounds, and their ratio."""
    found: dict[str, list[dict[str, float]]] = {"syncrec": [], "replay": []}
    with tempfile.TemporaryDirectory() as folder:
        log, place = str(Path(folder) / "log.npz"), Path(folder) / "peer.json"
        run("peers/export_log.py", log)
        for _ in range(rounds):
            ours = rows_of("training.py", "--case", "peer")[0] | rows_of("evaluation.py", "--model")[0]
            run("peers/replay_sasrec.py", log, "--json", str(place), interpreter=interpreter)
            found["syncrec"].append(ours)
            found["replay"].append(json.loads(place.read_text()))
    names = ("targets_per_cpu_second", "evaluation_microseconds_per_user")
    medians = {who: {name: median(row[name] for row in rows) for name in names} for who, rows in found.items()}
    ratios = {name: round(medians["syncrec"][name] / medians["replay"][name], 2) for name in names}
    return [{"name": who, **row} for who, row in (*medians.items(), ("syncrec / replay", ratios))]


def start_rows() -> list[dict[str, Any]]:
    """How long the command line takes to answer."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run([sys.executable, str(HERE / "start.py"), str(place)], check=True, capture_output=True)
        ask = ["recommend", str(place / "run"), "--user", "user-00000", "--domain", "books"]
        commands = {
            "syncrec --help": ["-m", "syncrec", "--help"],
            "syncrec recommend, one user": ["-m", "syncrec", *ask],
            "of which: import torch": ["-c", "import torch"],
        }
        return [
            {"name": name, "seconds": round(min(_wall_seconds(arguments) for _ in range(5)), 2)}
            for name, arguments in commands.items()
        ]


def _wall_seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def machine() -> dict[str, str]:
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    packages = ", ".join(f"{name} {version(name)}" for name in ("syncrec", "torch", "numpy", "polars"))
    return {
        "date": datetime.date.today().isoformat(),
        "processor": f"{model[0] if model else platform.processor()}, {os.cpu_count()} cores",
        "versions": f"Python {platform.python_version()}, {packages}",
        "threads": "1 (prepare: 2)",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="interpreter of an environment with replay-rec")
    parser.add_argument("--skip", action="append", default=[], choices=[*TRAINING, "evaluation", "start", "prepare"])
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    place = options.out / "latest.json"
    found: dict[str, Any] = json.loads(place.read_text()) if options.skip and place.exists() else {}
    found["machine"] = machine()
    for case in TRAINING:
        if case not in options.skip:
            found[case] = rows_of("training.py", "--case", case)
            print(TITLES[case], to_markdown(found[case]), sep="\n\n", end="\n\n", flush=True)
    others = {"evaluation": lambda: rows_of("evaluation.py"), "start": start_rows}
    if options.peer:
        others["peer"] = lambda: peer_rows(options.peer)
    for case, measure in others.items():
        if case not in options.skip:
            found[case] = measure()
            print(TITLES[case], to_markdown(found[case]), sep="\n\n", end="\n\n", flush=True)
    if "prepare" not in options.skip:
        found["prepare"] = run("prepare.py")
        print(found["prepare"], flush=True)
    write(found, options.out)


def write(found: dict[str, Any], out: Path) -> None:
    parts = ["# Benchmarks", "\n".join(f"- {name}: {value}" for name, value in found["machine"].items())]
    for case, title in TITLES.items():
        if case in found:
            parts += [f"## {title}", to_markdown(found[case])]
    if "prepare" in found:
        parts += ["## Preparing a log", found["prepare"].strip()]
    out.mkdir(parents=True, exist_ok=True)
    (out / "latest.md").write_text("\n\n".join(parts) + "\n")
    (out / "latest.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
