"""RePlay's SASRec at the shape of MovieLens-100K: targets trained a CPU-second, as `benchmarks/training.py` counts, and
the time to rank all items for every user and take NDCG, MRR and recall at 1, 5, 10 and 20.

Runs in an environment of its own, since it brings other versions along (torch first, so that it stays the CPU build):

    python -m venv peers && peers/bin/pip install torch==2.13.0 && peers/bin/pip install replay-rec lightning
    python benchmarks/peers/export_log.py log.npz
    peers/bin/python benchmarks/peers/replay_sasrec.py log.npz

Its own module makes loss and optimizer; they are driven by a bare loop over batches made beforehand, which spares it
the cost of its loader and of Lightning.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch

warnings.filterwarnings("ignore")

from replay.data import FeatureHint, FeatureSource, FeatureType  # noqa: E402
from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema  # noqa: E402
from replay.metrics.torch_metrics_builder import TorchMetricsBuilder  # noqa: E402
from replay.models.nn.sequential import SasRec  # noqa: E402

LENGTH = 50


def make_model(num_items: int) -> SasRec:
    feature = TensorFeatureInfo(
        name="item_id",
        is_seq=True,
        cardinality=num_items,
        padding_value=num_items,
        embedding_dim=64,
        feature_type=FeatureType.CATEGORICAL,
        feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, "item_id")],
        feature_hint=FeatureHint.ITEM_ID,
    )
    schema = TensorSchema([feature])
    return SasRec(
        schema, block_count=2, head_count=2, hidden_size=64, max_seq_len=LENGTH, dropout_rate=0.2, loss_type="CE"
    )


def make_batch(histories: list[np.ndarray], num_items: int) -> dict:
    """Left-padded, as its own data sets are."""
    inputs = torch.full((len(histories), LENGTH), num_items)
    labels = torch.full((len(histories), LENGTH), num_items)
    mask = torch.zeros(len(histories), LENGTH, dtype=torch.bool)
    for row, history in enumerate(histories):
        last = torch.as_tensor(history[-LENGTH - 1 :], dtype=torch.long)
        size = len(last) - 1
        inputs[row, LENGTH - size :], labels[row, LENGTH - size :] = last[:-1], last[1:]
        mask[row, LENGTH - size :] = True
    return {
        "feature_tensor": {"item_id": inputs},
        "padding_mask": mask,
        "positive_labels": labels,
        "target_padding_mask": mask,
    }


def training_rate(model: SasRec, batches: list[dict], steps: int) -> float:
    """Targets a CPU-second, after two steps to warm up."""
    model.train()
    model.log = lambda *_, **__: None
    optimizer = model.configure_optimizers()
    optimizer = optimizer[0][0] if isinstance(optimizer, tuple) else optimizer
    seconds, targets = 0.0, 0
    for number in range(steps + 2):
        batch = batches[number % len(batches)]
        started = time.process_time()
        optimizer.zero_grad()
        model.training_step(batch, 1).backward()
        optimizer.step()
        if number >= 2:
            seconds += time.process_time() - started
            targets += int(batch["target_padding_mask"].sum())
    return targets / seconds


@torch.no_grad()
def evaluation_seconds(model: SasRec, batches: list[dict]) -> float:
    """CPU seconds to score every item for the users of all batches, and their metrics, the best of three."""
    model.eval()
    best = float("inf")
    for _ in range(3):
        builder = TorchMetricsBuilder(["ndcg", "mrr", "recall"], [1, 5, 10, 20], None)
        builder.reset()
        started = time.process_time()
        for batch in batches:
            top = model.validation_step(batch, 0).topk(builder.max_k, dim=1).indices
            builder.add_prediction(top, batch["positive_labels"][:, -1:])
        builder.get_metrics()
        best = min(best, time.process_time() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    log = np.load(options.log)
    histories = np.split(log["items"], np.cumsum(log["lengths"])[:-1])
    num_items = int(log["num_items"])
    model = make_model(num_items)
    order = np.random.default_rng(0).permutation(len(histories))
    batches = [make_batch([histories[i] for i in order[s : s + 128]], num_items) for s in range(0, len(order), 128)]
    rate = training_rate(model, batches[:-1], options.steps)
    microseconds = evaluation_seconds(model, batches) / len(histories) * 1e6
    print(f"RePlay SASRec, full softmax: {rate:,.0f} targets a CPU-second, evaluation {microseconds:.0f} us a user")
    if options.json:
        row = {"targets_per_cpu_second": round(rate), "evaluation_microseconds_per_user": round(microseconds, 1)}
        options.json.write_text(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
