"""One million items, exactly and through the index of the service: time of a search, recall@100, and what it costs.

    python benchmarks/retrieval.py     # two or three minutes; table into benchmarks/results/retrieval.md

Vectors of dim 64 and length 1, as cosine scores have them, made in two ways, since an index does as well as its data
allows: `groups` are 5,000 groups of similar items (a catalogue with kinds of goods), `spread` has a spectrum that
decays (singular value n is n ** -0.5) and no groups. Questions are drawn like items. One thread, one question at a
time.
"""

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from run_all import machine, to_markdown
from syncrec.serving.retrieval import ApproximateRetrieval, ExactRetrieval, build_index

NUM_ITEMS, DIM, NUM_QUESTIONS, K = 1_000_000, 64, 200, 100
PLACE = Path(__file__).parent / "results"


def groups(count: int, seed: int) -> torch.Tensor:
    """Directions around 5,000 centres."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(5_000, DIM, generator=torch.Generator().manual_seed(99))
    chosen = torch.randint(len(centres), (count,), generator=generator)
    return F.normalize(centres[chosen] + 0.6 * torch.randn(count, DIM, generator=generator), dim=1)


def spread(count: int, seed: int) -> torch.Tensor:
    """Directions of a normal distribution whose axes decay."""
    scales = torch.arange(1, DIM + 1) ** -0.5
    return F.normalize(scales * torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)), dim=1)


def search_ms(way: Any, questions: torch.Tensor) -> np.ndarray:
    """Milliseconds of each search, one question at a time."""
    times = []
    for question in questions:
        begun = time.perf_counter()
        way.best(question[None], K, [None])
        times.append(1000 * (time.perf_counter() - begun))
    return np.asarray(times)


def measure(name: str, make: Any) -> list[dict[str, Any]]:
    """Rows for exact and approximate search of one kind of vectors."""
    items, asked, others = make(NUM_ITEMS, 0), make(NUM_QUESTIONS, 1), make(NUM_QUESTIONS, 2)
    exact = ExactRetrieval(items)
    begun = time.process_time()
    index = build_index(items)
    build_s = time.process_time() - begun
    begun = time.process_time()
    approximate = ApproximateRetrieval(items, index, asked)
    calibrate_s = time.process_time() - begun
    rows = []
    true = exact.best(others, K, [None] * len(others))
    for way, label in ((exact, "exact"), (approximate, "index")):
        found = way.best(others, K, [None] * len(others))
        recall = np.mean([np.isin(t, f).mean() for (t, _), (f, _) in zip(true, found, strict=True)])
        ms = search_ms(way, others)
        row = {"vectors": name, "search": label, "p50_ms": np.median(ms), "p99_ms": np.quantile(ms, 0.99)}
        row |= {"recall@100": recall, "build_s": None, "measure_s": None, "cells": "", "index_MiB": None}
        if label == "index":
            found_by = approximate.measured
            size = NUM_ITEMS * (2 * DIM + 8) / 2**20
            row |= {"build_s": build_s, "measure_s": calibrate_s, "index_MiB": size}
            row["cells"] = f"{found_by.num_probed} of {found_by.num_cells}"
        rows.append({key: round(v, 4) if isinstance(v, float | np.floating) else v for key, v in row.items()})
    return rows


def main() -> None:
    """Measure and write the table."""
    torch.set_num_threads(1)
    rows = [row for name, make in (("groups", groups), ("spread", spread)) for row in measure(name, make)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = {**machine(), "items": f"{NUM_ITEMS:,}, dim {DIM}", "peak memory of the process": f"{peak:,.0f} MiB"}
    lines = "\n".join(f"- {key}: {value}" for key, value in facts.items() if key != "threads")
    about = "`python benchmarks/retrieval.py`, whose first lines say how it is measured."
    text = "\n\n".join(["# Retrieval among a million items", about, lines, to_markdown(rows)]) + "\n"
    (PLACE / "retrieval.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
