"""Training speed of the package's models, in targets a CPU-second, beside the machine's own matrix-product rate.

    python benchmarks/training.py                    # the shape of MovieLens-100K, one thread
    python benchmarks/training.py --case growth      # how cost grows with items, length, domains, experts

CPU seconds of the steps alone (after two warm-up steps), batches made beforehand are not counted: packing is timed
on its own. `utilisation` is model arithmetic (multiply-adds of linear maps, attention and scores for real tokens;
padding and recomputation do not count as work) over the rate at which the same run computes the products of one of
these steps bare, at the same shapes and dtype. `peak_mib` is the process's so far.
"""

import argparse
import json
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from products import rate_of, recorded_products
from syncrec.config import Config, load_config
from syncrec.data.catalogue import Catalogue
from syncrec.data.dataset import Dataset
from syncrec.data.packing import PackedBatch, training_batches, training_users
from syncrec.planning.samples import make_dataset, skewed_lengths
from syncrec.planning.steps import TrainingStep

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Measurement:
    name: str
    precision: str
    targets_per_cpu_second: float
    packing_share: float
    gigaflops_per_cpu_second: float
    matmul_gigaflops_per_cpu_second: float
    utilisation: float
    fill: float
    peak_mib: int


class Step(TrainingStep):
    """A step of a fresh model for a dataset."""

    def __init__(self, dataset: Dataset, config: Config, precision: torch.dtype) -> None:
        super().__init__(Catalogue.of(dataset), np.asarray(dataset.item_counts), config, CPU, precision)

    def batches(self, dataset: Dataset) -> list[PackedBatch]:
        users = training_users(dataset)
        return list(training_batches(dataset, self.packer, users, self.config.training.batch_size, 0, 0))


def measure(name: str, dataset: Dataset, config: Config, precision: torch.dtype, max_steps: int = 16) -> Measurement:
    step = Step(dataset, config, precision)
    started = time.process_time()
    batches = step.batches(dataset)
    packing = (time.process_time() - started) / len(batches)
    batches = batches[:max_steps]
    for packed in batches[:2]:
        step.run(packed)
    seconds = []
    for packed in batches:
        started = time.process_time()
        step.run(packed)
        seconds.append(time.process_time() - started)
    targets = sum(len(b.targets) for b in batches)
    flops = sum(model_flops(config, dataset, b) for b in batches)
    rate = rate_of(recorded_products(lambda: step.run(batches[0])))
    slots = sum(b.cross.tokens.size + b.single.tokens.size for b in batches)
    tokens = sum((b.cross.segments >= 0).sum() + (b.single.segments >= 0).sum() for b in batches)
    total = sum(seconds)
    return Measurement(
        name=name,
        precision=str(precision).removeprefix("torch."),
        targets_per_cpu_second=round(targets / total),
        packing_share=round(packing * len(batches) / total, 4),
        gigaflops_per_cpu_second=round(flops / total / 1e9, 1),
        matmul_gigaflops_per_cpu_second=round(rate / 1e9, 1),
        utilisation=round(flops / total / rate, 3),
        fill=round(float(tokens / slots), 3),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def model_flops(config: Config, dataset: Dataset, batch: PackedBatch) -> float:
    """Multiply-adds times two of one step, forward and backward, of real tokens only."""
    model, hidden = config.model, round(config.model.dim * config.model.feedforward_multiplier)
    per_token = model.num_layers * (4 * model.dim**2 + 2 * model.dim * hidden)

    def attention(segments: np.ndarray) -> float:
        lengths = np.bincount(segments[segments >= 0])
        return float(model.num_layers * model.dim * (lengths * (lengths + 1)).sum())  # scores and mixture, causal

    views = {"cross": batch.cross.segments, "single": batch.single.segments}
    forward = {name: (s >= 0).sum() * per_token + attention(s) for name, s in views.items() if s.size}
    single_experts = model.num_experts - model.num_cross_experts
    if model.name == "syncrec":  # (M5): all experts read both views, each learns from its own
        experts = sum(forward.values()) * model.num_experts
        experts += 2 * (forward["cross"] * model.num_cross_experts + forward["single"] * single_experts)
        towers = 3 * 2 * len(batch.targets) * 2 * model.dim * hidden
        answers = 2
    else:
        experts, towers, answers = 3 * forward["cross"], 0, 1
    sizes = np.diff(dataset.item_offsets)[batch.domains]
    rivals = sizes.sum() if config.loss.kind == "full" else len(batch.targets) * config.loss.num_negatives
    return 2 * float(experts + towers + 3 * answers * rivals * model.dim)


def base_config(*settings: str) -> Config:
    """The settings of the published comparison: dim 64, 2 layers, 2 heads, T = 50, batch 128, full softmax."""
    return load_config(
        None,
        [
            "model.dim=64",
            "model.num_layers=2",
            "model.num_heads=2",
            "model.max_length=50",
            "model.feedforward_multiplier=1",
            "model.dropout=0.2",
            "model.score=dot",
            "training.batch_size=128",
            "loss.kind=full",
            *settings,
        ],
    )


def movielens_shape(num_domains: int) -> Dataset:
    """943 users, 1,682 items, 100,000 events, over `num_domains` domains of equal size."""
    rng = np.random.default_rng(0)
    sizes = [1682 // num_domains + (d < 1682 % num_domains) for d in range(num_domains)]
    return make_dataset(skewed_lengths(943, 106, 737, rng), sizes)


def main_cases() -> list[Measurement]:
    rows = []
    for precision in (torch.float32, torch.bfloat16):
        rows.append(measure("SASRec, full softmax", movielens_shape(1), base_config("model.name=sasrec"), precision))
        syncrec = base_config("model.num_experts=5", "model.num_cross_experts=2")
        rows.append(measure("SyNCRec, D=5, K=5, full softmax", movielens_shape(5), syncrec, precision))
    return rows


def peer_cases() -> list[Measurement]:
    """What a peer's SASRec stands beside, alone."""
    return [measure("SASRec, full softmax", movielens_shape(1), base_config("model.name=sasrec"), torch.float32)]


def catalogue_cases() -> list[Measurement]:
    """Full softmax over a million items: 16 users a step; `peak_mib` holds the table, its gradient and its moments."""
    rows = []
    lengths = skewed_lengths(943, 106, 737, np.random.default_rng(0))
    for items in (100_000, 1_000_000):
        config = base_config("model.num_experts=5", "model.num_cross_experts=2", "training.batch_size=16")
        dataset = make_dataset(lengths, [items // 5] * 5)
        rows.append(measure(f"{items:,} items, full softmax", dataset, config, torch.float32, 2))
    return rows


def padding_cases() -> list[Measurement]:
    """Cost of a real target when histories are all full and when they average a third of T."""
    config = base_config("model.num_experts=5", "model.num_cross_experts=2")
    full = make_dataset(np.full(1000, 60), [336] * 5)
    third = make_dataset(np.clip(skewed_lengths(3000, 20, 60, np.random.default_rng(1)), 5, 60), [336] * 5)
    return [measure(name, dataset, config, torch.float32) for name, dataset in (("all full", full), ("a third", third))]


def growth_cases() -> list[Measurement]:
    """How cost grows with catalogue, length, domains and experts (sampled softmax, 1,024 negatives)."""
    sampled = ("loss.kind=sampled", "model.num_experts=5", "model.num_cross_experts=2")
    lengths = skewed_lengths(943, 106, 737, np.random.default_rng(0))
    rows = []
    for items in (10_000, 100_000, 1_000_000):
        config = base_config(*sampled)
        rows.append(measure(f"{items:,} items", make_dataset(lengths, [items // 5] * 5), config, torch.float32, 6))
    for users in (943, 9430):
        many = skewed_lengths(users, 106, 737, np.random.default_rng(0))
        dataset = make_dataset(many, [2000] * 5)
        rows.append(measure(f"{users:,} users", dataset, base_config(*sampled), torch.float32, 6))
    for length in (50, 200):
        config = base_config(*sampled, f"model.max_length={length}")
        rows.append(measure(f"T = {length}", make_dataset(lengths, [2000] * 5), config, torch.float32, 6))
    for domains in (2, 5, 20):
        rows.append(
            measure(
                f"{domains} domains",
                make_dataset(lengths, [10_000 // domains] * domains),
                base_config(*sampled),
                torch.float32,
                6,
            )
        )
    for experts in (2, 5, 8):
        config = base_config(*sampled, f"model.num_experts={experts}", f"model.num_cross_experts={experts // 2}")
        rows.append(measure(f"{experts} experts", make_dataset(lengths, [2000] * 5), config, torch.float32, 6))
    return rows


CASES = {
    "main": main_cases,
    "peer": peer_cases,
    "padding": padding_cases,
    "growth": growth_cases,
    "catalogue": catalogue_cases,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=list(CASES), default="main")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = CASES[options.case]()
    names = list(asdict(rows[0]))
    print("| " + " | ".join(names) + " |\n|" + " --- |" * len(names))
    for row in rows:
        print("| " + " | ".join(f"{v:,}" if isinstance(v, (int, float)) else v for v in asdict(row).values()) + " |")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
