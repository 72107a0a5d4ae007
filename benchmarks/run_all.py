"""Every benchmark in one table: Markdown and JSON under `benchmarks/results/`.

    python benchmarks/run_all.py                       # about 10 minutes on one core
    python benchmarks/run_all.py --peer PYTHON         # also RePlay's SASRec, with the interpreter of its environment
    python benchmarks/run_all.py --skip prepare        # leave one out

Each benchmark is a process of its own, on one thread, in CPU seconds; ratios of one run compare, figures of two do not.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TRAINING = ("main", "padding", "growth")
TITLES = {
    "main": "Training at the shape of MovieLens-100K (943 users, 1,682 items, 100,000 events; dim 64, 2 layers)",
    "padding": "Padding: histories all full, and a third of T on average",
    "growth": "How the cost of training grows (sampled softmax, 1,024 negatives, K = 5 unless said otherwise)",
    "evaluation": "Full-ranking evaluation, dim 64, one answer",
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


def peer_rate(interpreter: str) -> str:
    """RePlay's SASRec on the log that the main case trains on."""
    with tempfile.TemporaryDirectory() as folder:
        log = str(Path(folder) / "log.npz")
        run("peers/export_log.py", log)
        return run("peers/replay_sasrec.py", log, interpreter=interpreter).strip().splitlines()[-1]


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
    parser.add_argument("--skip", action="append", default=[], choices=[*TRAINING, "evaluation", "prepare"])
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    for case in TRAINING:
        if case not in options.skip:
            found[case] = rows_of("training.py", "--case", case)
            print(TITLES[case], to_markdown(found[case]), sep="\n\n", end="\n\n", flush=True)
    if options.peer:
        found["peer"] = peer_rate(options.peer)
        print(found["peer"], end="\n\n", flush=True)
    if "evaluation" not in options.skip:
        found["evaluation"] = rows_of("evaluation.py")
        print(TITLES["evaluation"], to_markdown(found["evaluation"]), sep="\n\n", end="\n\n", flush=True)
    if "prepare" not in options.skip:
        found["prepare"] = run("prepare.py")
        print(found["prepare"], flush=True)
    write(found, options.out)


def write(found: dict[str, Any], out: Path) -> None:
    parts = ["# Benchmarks", "\n".join(f"- {name}: {value}" for name, value in found["machine"].items())]
    for case, title in TITLES.items():
        if case in found:
            parts += [f"## {title}", to_markdown(found[case])]
    if "peer" in found:
        parts += ["## Beside other libraries", found["peer"]]
    if "prepare" in found:
        parts += ["## Preparing a log", found["prepare"].strip()]
    out.mkdir(parents=True, exist_ok=True)
    (out / "latest.md").write_text("\n\n".join(parts) + "\n")
    (out / "latest.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
