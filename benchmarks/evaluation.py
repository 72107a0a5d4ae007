"""Speed and memory of full-ranking evaluation, beside the machine's own matrix-product rate.

    python benchmarks/evaluation.py                                # 943 x 1,682 to 100,000 x 100,000: two minutes
    python benchmarks/evaluation.py --users 5000 --items 20000     # one case
    python benchmarks/evaluation.py --model                        # SASRec from histories to metrics, as the peers do

Ranks of one answer with vectors of 64 numbers, one thread, CPU seconds. `of_the_product` is the time that the bare
products of the same blocks take, over the time that ranking took. `--model` counts all of it: the network over every
history, ranks among all items, and metrics.
"""

import argparse
import json
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from syncrec.data.catalogue import Catalogue
from syncrec.evaluation import all_metrics, full_ranks, summarise
from syncrec.evaluation.ranking import query_blocks
from syncrec.models.registry import build_model
from syncrec.models.scoring import VectorScorer, answer_vectors
from syncrec.planning.samples import make_dataset
from training import base_config, movielens_shape

SIZES = [(943, 1682), (20_000, 100_000), (100_000, 100_000)]


@dataclass(frozen=True)
class Measurement:
    users: int
    items: int
    cpu_seconds: float
    microseconds_per_user: float
    of_the_product: float
    peak_mib: int


def measure(num_users: int, num_items: int, dim: int = 64) -> Measurement:
    dataset = make_dataset(np.full(num_users, 5), [num_items])
    queries = dataset.queries("test")
    torch.manual_seed(0)
    vectors, items = torch.randn(len(queries), dim), torch.randn(num_items, dim)
    scorer = VectorScorer(vectors, items)
    full_ranks(queries, dataset, {"answer": scorer}) if num_users < 10_000 else None
    started = time.process_time()
    full_ranks(queries, dataset, {"answer": scorer})
    seconds = time.process_time() - started
    started = time.process_time()
    for block in query_blocks(queries, dataset):
        scorer.scores(block.queries, block.item_start, block.item_stop)
    product = time.process_time() - started
    return Measurement(
        users=num_users,
        items=num_items,
        cpu_seconds=round(seconds, 3),
        microseconds_per_user=round(seconds / num_users * 1e6, 1),
        of_the_product=round(product / seconds, 3),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def model_microseconds() -> float:
    """CPU microseconds a user of evaluating SASRec at the shape of MovieLens-100K, the best of three."""
    dataset = movielens_shape(1)
    model = build_model(Catalogue.of(dataset), base_config("model.name=sasrec").model).eval()
    queries = dataset.queries("test")
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        vectors = answer_vectors(model, dataset, queries)
        ranks = full_ranks(queries, dataset, {"cross": VectorScorer(vectors.queries["cross"], vectors.items)})
        summarise(all_metrics(ranks["cross"]), queries.domains, dataset.domains)
        best = min(best, time.process_time() - started)
    return best / len(queries) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int)
    parser.add_argument("--items", type=int)
    parser.add_argument("--model", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.model:
        row = {"evaluation_microseconds_per_user": round(model_microseconds(), 1)}
        print(row)
        if options.json:
            options.json.write_text(json.dumps([row]) + "\n")
        return
    sizes = [(options.users, options.items)] if options.users and options.items else SIZES
    rows = [measure(users, items) for users, items in sizes]
    names = list(asdict(rows[0]))
    print("| " + " | ".join(names) + " |\n|" + " --: |" * len(names))
    for row in rows:
        print("| " + " | ".join(f"{value:,}" for value in asdict(row).values()) + " |")
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
