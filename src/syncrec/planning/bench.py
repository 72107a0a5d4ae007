"""`syncrec bench`: what this machine needs for a part of a step, for whole steps, for memory, for talking to itself."""

import datetime
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from syncrec.config import Config, PrepareConfig, load_config
from syncrec.planning import network
from syncrec.planning.laws import Law, seconds_by_law
from syncrec.planning.machine import Agreement, Machine, Network, Product
from syncrec.planning.memory import Layout, memory_parts
from syncrec.planning.probes import Probe, measure_laws
from syncrec.planning.steps import Clock
from syncrec.planning.whole import StepMeasurement, measure_in_a_process
from syncrec.planning.workload import Workload
from syncrec.runs import library_versions
from syncrec.training.device import choose_device, choose_precision, use_threads

__all__ = ["CASES", "bench"]

Report = Callable[[str], None]

CASES: dict[str, tuple[tuple[int, int, int, int], tuple[str, ...]]] = {
    "small": ((600, 2000, 2, 12_000), ("model.dim=16", "training.batch_size=32", "model.max_length=30")),
    "sampled": (
        (2000, 30_000, 4, 60_000),
        ("model.dim=48", "model.num_experts=3", "loss.kind=sampled", "loss.num_negatives=500"),
    ),
    "rows": (
        (2000, 250_000, 3, 50_000),
        ("model.dim=96", "model.num_experts=3", "model.num_cross_experts=1", "loss.kind=sampled"),
    ),
    "full": (
        (1500, 6000, 3, 60_000),
        ("model.dim=80", "model.num_experts=4", "model.max_length=80", "training.batch_size=96"),
    ),
    "long": (
        (600, 5000, 6, 90_000),
        ("model.dim=96", "model.num_experts=3", "model.max_length=150", "training.batch_size=48", "loss.kind=sampled"),
    ),
}
"""Whole steps: (users, items, domains, events) and settings; sizes of their own, not those of the benchmarks."""


@dataclass(frozen=True)
class _Bench:
    device: torch.device
    threads: int
    report: Report

    def run(self) -> Machine:
        precision = choose_precision("auto", self.device)
        probe = Probe(Clock(self.device), self.device, precision)
        self.report(f"parts of a step on {_processor(self.device)}, {self.threads} threads: about a minute")
        laws = measure_laws(probe)
        self.report("whole steps, each in a process of its own")
        steps = {name: self._whole(name) for name in CASES}
        laws["step"] = _step_law(steps, laws)
        base = median(found.base_bytes for found in steps.values())
        agreement = [_agreement(name, found, laws, self.device) for name, found in steps.items()]
        factors = [
            (found.peak_bytes - found.base_bytes) / a.predicted_bytes
            for found, a in zip(steps.values(), agreement, strict=True)
        ]
        self.report("talking, preparing, memory")
        return Machine(
            name=_processor(self.device),
            device=self.device.type,
            precision="bfloat16" if precision == torch.bfloat16 else "float32",
            threads=self.threads,
            is_calibrated=True,
            date=datetime.date.today().isoformat(),
            versions=library_versions(),
            memory_bytes=_memory_bytes(self.device),
            base_memory_bytes=base,
            memory_factor=max(1.0, median(factors)),
            bandwidth_bytes_per_s=_bandwidth(probe),
            products=_products(probe),
            laws=laws,
            network=_network(self.device),
            devices_a_node=torch.cuda.device_count() if self.device.type == "cuda" else os.cpu_count() or 1,
            prepare_s_per_event=_prepare_seconds(),
            agreement=agreement,
        )

    def _whole(self, name: str) -> StepMeasurement:
        sizes, settings = CASES[name]
        return measure_in_a_process(Workload(*sizes, _config(settings, self.device)), self.threads)


def bench(device: str, threads: int, report: Report) -> Machine:
    """Measure the machine; a minute or two on one core.

    Args:
        device: as `training.device`.
        threads: as `training.threads`.
        report: is told what is being measured.

    Raises:
        ConfigError, MissingCapabilityError: there is no such device.
    """
    return _Bench(choose_device(device), use_threads(threads), report).run()


def _config(settings: tuple[str, ...], device: torch.device) -> Config:
    return load_config(None, [*settings, f"training.device={device}"])


def _step_law(steps: dict[str, StepMeasurement], laws: dict[str, Law]) -> Law:
    """What whole steps take beyond their parts: the median, for every step alike."""
    rest = []
    for found in steps.values():
        parts = {name: piece for name, piece in found.work.items() if name not in ("step", "packing")}
        rest.append(found.seconds - sum(seconds_by_law(parts, laws).values()))
    return Law(per_call=max(0.0, median(rest)))


def _agreement(name: str, found: StepMeasurement, laws: dict[str, Law], device: torch.device) -> Agreement:
    parts = {law: piece for law, piece in found.work.items() if law != "packing"}
    sizes, settings = CASES[name]
    precision = "bfloat16" if choose_precision("auto", device) == torch.bfloat16 else "float32"
    memory = memory_parts(Workload(*sizes, _config(settings, device)), Layout(device.type, precision))
    return Agreement(
        name=name,
        measured_s=found.seconds,
        predicted_s=sum(seconds_by_law(parts, laws).values()),
        measured_bytes=found.peak_bytes - found.base_bytes,
        predicted_bytes=sum(memory.values()),
    )


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_bytes(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _bandwidth(probe: Probe) -> float:
    source = torch.ones(32 * 2**20, device=probe.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / probe.clock.seconds(lambda: target.copy_(source))


def _products(probe: Probe) -> list[Product]:
    """Products as they occur: query, key and value of a view, feed-forward, targets by negatives."""
    found = []
    for m, k, n in ((6400, 64, 192), (6400, 64, 128), (6400, 128, 384), (12_800, 64, 1024), (64, 6400, 192)):
        left, right = (torch.randn(shape, device=probe.device, dtype=probe.precision) for shape in ((m, k), (k, n)))
        seconds = probe.clock.seconds(partial(torch.matmul, left, right))
        found.append(Product(m=m, k=k, n=n, flops_per_s=2 * m * k * n / seconds))
    return found


def _network(device: torch.device) -> Network | None:
    """Between all GPUs, or two processes of this machine; None where there is one GPU or no second process comes up."""
    count = torch.cuda.device_count() if device.type == "cuda" else 2
    if count < 2 or not torch.distributed.is_available():
        return None
    return network.measure(device.type, count)


def _prepare_seconds(num_users: int = 4000) -> float:
    """Wall-clock seconds of `prepare` for an event of a simulated log, with all cores."""
    from syncrec.data.prepare import Source, prepare
    from syncrec.data.simulation import simulate_log

    with tempfile.TemporaryDirectory(prefix="syncrec-bench-") as folder:
        log = Path(folder) / "log.csv"
        simulate_log(log, num_users=num_users, mean_events=40)
        begun = time.perf_counter()
        dataset = prepare([Source(str(log))], Path(folder) / "dataset", PrepareConfig())
        return (time.perf_counter() - begun) / len(dataset.items)
