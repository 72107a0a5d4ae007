"""Training in one and in two processes on this machine: steps a second, and what processes tell each other in a step.

    python benchmarks/processes.py                   # into benchmarks/results/processes.md; about ten minutes

The same global batches, of 128 users where nothing is said, one thread a process, float32; wall-clock seconds of the
steps, after three to warm up. `ceiling` is what the machine has to give: how much more two trainings of one process get
done side by side, which have nothing to tell each other (2 on two cores that share nothing). `cpu_ratio` is the CPU
time of all processes over that of one. `gradient_mib` is what a process puts into the sum of gradients, `other_kib`
into all other sums and gathers (means, gaps, the single answers for mutual information).
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
NUM_STEPS, NUM_WARM = 20, 3
SHAPES: dict[str, tuple[int, list[int], dict[str, dict[str, Any]]]] = {
    "dim 64, K = 2, 2 x 10,000 items": (
        2000,
        [10_000] * 2,
        {"model": {"dim": 64, "num_experts": 2, "num_cross_experts": 1}},
    ),
    "dim 64, K = 5, D = 5, 5 x 10,000 items": (
        2000,
        [10_000] * 5,
        {"model": {"dim": 64, "num_experts": 5, "num_cross_experts": 2}},
    ),
    "dim 64, K = 2, 2 x 250,000 items, rows": (
        2000,
        [250_000] * 2,
        {"model": {"dim": 64, "num_experts": 2, "num_cross_experts": 1}},
    ),
    "dim 64, K = 2, 2 x 10,000 items, batches of 512": (
        8000,
        [10_000] * 2,
        {"model": {"dim": 64, "num_experts": 2, "num_cross_experts": 1}, "training": {"batch_size": 512}},
    ),
    "dim 128, K = 4, 2 x 10,000 items, batches of 512": (
        8000,
        [10_000] * 2,
        {"model": {"dim": 128, "num_experts": 4, "num_cross_experts": 2}, "training": {"batch_size": 512}},
    ),
}


def member(shape: str, data: Path) -> None:
    """What each process does; the main one prints its figures."""
    import torch
    import torch.distributed as dist

    from syncrec.config import load_config
    from syncrec.data.dataset import Dataset
    from syncrec.fitting import TrainingSession
    from syncrec.parallel import process_group, sum_over_processes

    _, _, sections = SHAPES[shape]
    training = {
        "batch_size": 128,
        "threads": 1,
        "device": "cpu",
        "precision": "float32",
        **sections.get("training", {}),
    }
    extra = {"loss": {"kind": "sampled", "num_negatives": 1024}, **sections, "training": training}
    told = {"bytes": 0}
    with process_group() as group:
        session = TrainingSession(Dataset(data, check_content=False), load_config(extra=extra), data)
        fit = session.fit
        fit.model.train()
        batches = [batch for batch, _ in zip(fit._batches(0, 0), range(NUM_STEPS), strict=False)]
        _count(dist, told)
        for number, batch in enumerate(batches):
            if number == NUM_WARM:
                started, cpu, told["bytes"] = time.perf_counter(), time.process_time(), 0
            fit.trainer._step(batch, 1000)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
        steps = len(batches) - NUM_WARM
        total_cpu = float(sum_over_processes(torch.tensor(cpu)))
        gradient = sum(_bytes(p.grad) for p in session.fit.trainer._learner.parameters() if p.grad is not None)
        if group.is_main:
            figures = {
                "wall_s": wall / steps,
                "cpu_s": total_cpu / steps,
                "targets": sum(b.num_all_targets for b in batches[NUM_WARM:]) / steps,
                "gradient": gradient,
                "other": told["bytes"] / steps,
            }
            print(json.dumps(figures))


def _bytes(gradient: Any) -> int:
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        return gradient.values().nbytes + gradient.indices().nbytes
    return gradient.nbytes


def _count(dist: Any, told: dict[str, int]) -> None:
    """Add up the bytes that go into sums and gathers from Python; those of gradients go another way."""
    all_reduce, all_gather = dist.all_reduce, dist.all_gather

    def reduce(tensor: Any, *arguments: Any, **named: Any) -> Any:
        told["bytes"] += tensor.nbytes
        return all_reduce(tensor, *arguments, **named)

    def gather(parts: Any, tensor: Any, **named: Any) -> Any:
        told["bytes"] += tensor.nbytes
        return all_gather(parts, tensor, **named)

    dist.all_reduce, dist.all_gather = reduce, gather


def measure_apart(shape: str, data: Path) -> float:
    """Seconds a step of two trainings side by side that know nothing of each other: the slower one's."""
    with ThreadPoolExecutor(2) as pool:
        return max(found["wall_s"] for found in pool.map(lambda _: measure(shape, data, 1), range(2)))


def measure(shape: str, data: Path, size: int) -> dict[str, float]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    members = []
    for rank in range(size):
        place = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        environment = {**os.environ, **{k: str(v) for k, v in place.items()}, "MASTER_ADDR": "127.0.0.1"}
        command = [sys.executable, __file__, "--member", shape, "--data", str(data)]
        members.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in members]
    return json.loads(outputs[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--member")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "processes.md")
    parser.add_argument("--rounds", type=int, default=3, help="of one process, two, and two apart; the medians count")
    options = parser.parse_args()
    if options.member:
        member(options.member, options.data)
        return
    from run_all import to_markdown
    from syncrec.planning.samples import make_dataset, skewed_lengths

    rows = []
    for shape, (num_users, sizes, _) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            make_dataset(skewed_lengths(num_users, 30, 200, np.random.default_rng(0)), sizes, path=data)
            rounds = [
                (measure(shape, data, 1), measure(shape, data, 2), {"wall_s": measure_apart(shape, data)})
                for _ in range(options.rounds)
            ]

        def median(number: int, key: str, rounds: Any = rounds) -> float:
            return float(np.median([pair[number][key] for pair in rounds]))

        rows.append(
            {
                "shape": shape,
                "targets_per_second_1": round(median(0, "targets") / median(0, "wall_s")),
                "targets_per_second_2": round(median(1, "targets") / median(1, "wall_s")),
                "speed_up": round(median(0, "wall_s") / median(1, "wall_s"), 2),
                "ceiling": round(2 * median(0, "wall_s") / median(2, "wall_s"), 2),
                "cpu_ratio": round(median(1, "cpu_s") / median(0, "cpu_s"), 2),
                "gradient_mib": round(median(1, "gradient") / 2**20, 2),
                "other_kib": round(median(1, "other") / 2**10, 1),
                "load_before": round(os.getloadavg()[0], 1),
            }
        )
        print(rows[-1], flush=True)
    text = "# Training in one and two processes\n\n`python benchmarks/processes.py`, whose first lines say how.\n\n"
    options.out.write_text(text + to_markdown(rows) + "\n", encoding="utf-8")
    options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
