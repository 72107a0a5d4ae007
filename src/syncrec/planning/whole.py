"""Whole steps of a workload, measured in a process of its own: time, and the most memory that was in use.

`python -m syncrec.planning.whole` reads a workload from its standard input and prints a measurement, JSON both. It is a
process of its own, since the peak of one that has done other things says nothing.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch

from syncrec.config import Config, load_config, parse_settings
from syncrec.data.catalogue import Catalogue
from syncrec.errors import SyncrecError
from syncrec.planning.steps import Clock, TrainingStep
from syncrec.planning.work import Work, step_work
from syncrec.planning.workload import StepShape, Workload, history_lengths, sample_batch
from syncrec.training.device import choose_device, peak_memory_bytes, use_threads

__all__ = ["StepMeasurement", "measure_in_a_process", "measure_steps"]

_DIFFERENT = 4


@dataclass(frozen=True)
class StepMeasurement:
    """The median step without its packing, memory before the model was made and at its peak, and the step's work."""

    seconds: float
    base_bytes: float
    peak_bytes: float
    work: dict[str, Work]


def measure_steps(workload: Workload, num_steps: int = 8) -> StepMeasurement:
    """Train some steps of batches that look like the workload's."""
    device = choose_device(workload.config.training.device)
    base = _base_bytes(device)
    sizes = [workload.items // workload.domains] * workload.domains
    catalogue = Catalogue(tuple(int(offset) for offset in np.cumsum([0, *sizes])))
    counts = np.ones(catalogue.num_items, dtype=np.int64)
    step = TrainingStep(catalogue, counts, workload.config, device)
    lengths = history_lengths(workload.events / workload.users, workload.users_a_step)
    batches = [sample_batch(lengths, sizes, workload.config.model.max_length, seed) for seed in range(_DIFFERENT)]
    clock = Clock(device)
    for batch in batches[:2]:
        step.run(batch)
    taken = [clock.once(partial(step.run, batches[number % _DIFFERENT])) for number in range(num_steps)]
    shape = StepShape.of(batches[0])
    work = step_work(shape, workload.config, catalogue.num_items, workload.domains)
    return StepMeasurement(median(taken), base, peak_memory_bytes(device), work)


def _base_bytes(device: torch.device) -> float:
    """In use once a step of a tiny model was made: what libraries and kernels take, on a GPU next to nothing."""
    config = load_config(None, ["model.dim=8", f"training.device={device}"])
    catalogue = Catalogue((0, 10, 20))
    step = TrainingStep(catalogue, np.ones(20, dtype=np.int64), config, device)
    step.run(sample_batch(np.array([3, 4, 5]), [10, 10], config.model.max_length))
    return float(peak_memory_bytes(device))


def measure_in_a_process(workload: Workload, threads: int, num_steps: int = 8) -> StepMeasurement:
    """`measure_steps` in a fresh process.

    Raises:
        SyncrecError: it failed; the text has the last line that it wrote.
    """
    values = {name: getattr(workload, name) for name in ("users", "items", "domains", "events")}
    values |= {"config": workload.config.model_dump(), "threads": threads, "num_steps": num_steps}
    done = subprocess.run(
        [sys.executable, "-m", "syncrec.planning.whole"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise SyncrecError(f"a measured step failed: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["work"] = {name: Work(*numbers) for name, numbers in found["work"].items()}
    return StepMeasurement(**found)


def main() -> None:
    """Read a workload from standard input, measure it, print the measurement."""
    values = json.load(sys.stdin)
    use_threads(values["threads"])
    config = parse_settings(Config, values["config"], "standard input")
    sizes = {name: values[name] for name in ("users", "items", "domains", "events")}
    found = measure_steps(Workload(**sizes, config=config), values["num_steps"])
    work = {name: (piece.flops, piece.bytes, piece.calls) for name, piece in found.work.items()}
    print(json.dumps({**vars(found), "work": work}))


if __name__ == "__main__":
    main()
