"""How far `syncrec plan` is from what is measured: step time and peak memory at three sizes.

    python benchmarks/plan_check.py                              # calibrates (two minutes), trains, compares
    python benchmarks/plan_check.py --machine machine.json       # with a calibration that is there

The plan is told users, items, domains, events and settings, nothing else; the log is drawn at random, lengths from a
log-normal distribution and items by a power law. The sizes are not among those that `syncrec bench` measures. Each
size runs three times, in turn with the others, each time in a process of its own on one thread: 36 steps after 4 that
warm up, CPU seconds, packing included. A figure is the median of the three medians, since other programs that use the
memory slow a run by up to a third; memory is the peak of the process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

from syncrec.config import load_config
from syncrec.data.catalogue import Catalogue
from syncrec.data.packing import training_batches, training_users
from syncrec.planning.bench import bench
from syncrec.planning.estimate import estimate
from syncrec.planning.machine import Machine, load_machine
from syncrec.planning.samples import make_dataset, skewed_lengths
from syncrec.planning.steps import TrainingStep
from syncrec.planning.workload import Workload
from syncrec.training.device import peak_memory_bytes

HERE = Path(__file__).parent
CPU = torch.device("cpu")
STEPS, WARM, ROUNDS = 36, 4, 3


@dataclass(frozen=True)
class Case:
    title: str
    users: int
    mean: float
    items: int
    domains: int
    settings: tuple[str, ...]

    @property
    def lengths(self) -> np.ndarray:
        return skewed_lengths(self.users, self.mean, 10_000, np.random.default_rng(7))


CASES = {
    "small": Case(
        "Food-Kitchen-like: dim 64, K = 2, full softmax",
        7144,
        24.3,
        11_836,
        2,
        ("model.dim=64", "model.num_experts=2", "model.num_cross_experts=1"),
    ),
    "items": Case(
        "100,000 items: dim 64, K = 4, D = 5, 1,024 negatives, rows updated",
        20_000,
        30,
        100_000,
        5,
        ("model.dim=64", "loss.kind=sampled"),
    ),
    "long": Case(
        "long histories: dim 128, K = 5, D = 8, T = 200, 1,024 negatives",
        2000,
        180,
        16_000,
        8,
        (
            "model.dim=128",
            "model.num_experts=5",
            "model.max_length=200",
            "training.batch_size=32",
            "loss.kind=sampled",
        ),
    ),
}


def train(case: Case) -> dict[str, float]:
    """Median step and peak memory of this process."""
    torch.set_num_threads(1)
    config = load_config(None, case.settings)
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(case.lengths, [case.items // case.domains] * case.domains, path=Path(folder) / "data")
        step = TrainingStep(Catalogue.of(dataset), np.asarray(dataset.item_counts), config, CPU)
        users = training_users(dataset)
        batches = training_batches(dataset, step.packer, users, config.training.batch_size, 0, 0)
        seconds = []
        for _ in range(WARM + STEPS):
            begun = time.process_time()
            step.run(next(batches))
            seconds.append(time.process_time() - begun)
    return {"step_s": median(seconds[WARM:]), "peak_bytes": peak_memory_bytes(CPU)}


def measured(name: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--train", name]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measured_in_turn() -> dict[str, dict[str, float]]:
    """The median of the rounds, and the range of the steps."""
    rounds = [{name: measured(name) for name in CASES} for _ in range(ROUNDS)]
    found = {}
    for name in CASES:
        steps = [one[name]["step_s"] for one in rounds]
        peak = median(one[name]["peak_bytes"] for one in rounds)
        found[name] = {"step_s": median(steps), "peak_bytes": peak, "fastest": min(steps), "slowest": max(steps)}
    return found


def compare(found: dict[str, float], case: Case, machine: Machine) -> dict[str, str]:
    workload = Workload(case.users, case.items, case.domains, int(case.lengths.sum()), load_config(None, case.settings))
    plan = estimate(workload, machine)
    tensors = plan.chosen.memory_bytes - machine.base_memory_bytes
    return {
        "size": case.title,
        "step, measured": f"{found['step_s']:.3f} s ({found['fastest']:.3f} to {found['slowest']:.3f})",
        "planned": f"{plan.chosen.whole_step_s:.3f} s",
        "off": f"{plan.chosen.whole_step_s / found['step_s'] - 1:+.0%}",
        "peak, measured": f"{found['peak_bytes'] / 2**20:,.0f} MiB",
        "planned memory": f"{plan.chosen.memory_bytes / 2**20:,.0f} MiB",
        "off by": f"{plan.chosen.memory_bytes / found['peak_bytes'] - 1:+.0%}",
        "off, without libraries": f"{tensors / (found['peak_bytes'] - machine.base_memory_bytes) - 1:+.0%}",
    }


def write(rows: list[dict[str, str]], machine: Machine, out: Path) -> None:
    table = [list(rows[0]), ["---"] * len(rows[0]), *([*row.values()] for row in rows)]
    head = f"{machine.name}, {machine.threads} thread, {machine.precision}, calibrated on {machine.date}; "
    head += ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    lines = ["# The plan beside what was measured", "", head, ""]
    lines += ["| " + " | ".join(row) + " |" for row in table]
    lines += ["", "Whole steps of the calibration, which are other sizes, beside the sum of their parts:", ""]
    lines += ["| step | measured | from its parts | off |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {a.name} | {a.measured_s:.3f} s | {a.predicted_s:.3f} s | {a.predicted_s / a.measured_s - 1:+.0%} |"
        for a in machine.agreement
    ]
    out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", type=Path, help="a calibration; by default one is made, on one thread")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "plan_check.md")
    parser.add_argument("--train", choices=list(CASES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(json.dumps(train(CASES[options.train])))
        return
    machine = load_machine(options.machine) if options.machine else bench("cpu", 1, print)
    found = measured_in_turn()
    write([compare(found[name], case, machine) for name, case in CASES.items()], machine, options.out)


if __name__ == "__main__":
    main()
