"""Memory of one device while it trains, part by part, in bytes.

Counted from what autograd keeps (`tests/planning/test_memory.py` compares with the tensors that it really keeps).
Weights, moments and gradients are float32.
"""

from dataclasses import dataclass

from syncrec.config import Config
from syncrec.planning.work import (
    expert_passes,
    hidden_size,
    num_dense_parameters,
    rows_touched,
    touched_entries,
)
from syncrec.planning.workload import StepShape, ViewShape, Workload

__all__ = [
    "ITEM_PARTS",
    "Layout",
    "block_activation_bytes",
    "memory_parts",
    "validation_bytes",
    "view_activation_bytes",
]

_FLOAT, _INDEX = 4, 8
_ANSWERS, _MOMENTS = 2, 2
_LONGEST_KEPT = 128
_BLOCK_BYTES = {"cpu": _FLOAT * 2**19 * 8, "other": _FLOAT * 2**26}  # blocks of `losses/full_softmax.py`
_POOL = 4  # as in `nn/dropout.py`

ITEM_PARTS = ("item table", "item moments", "item gradients")
"""Parts that are divided among the devices where the table is."""


@dataclass(frozen=True)
class Layout:
    """Where and how it is computed."""

    device: str = "cpu"
    precision: str = "float32"
    shards: int = 1

    @property
    def activation_bytes(self) -> int:
        """Of a number that a matrix product reads: half as many under bfloat16."""
        return 2 if self.precision == "bfloat16" else _FLOAT


def block_activation_bytes(view: ViewShape, dim: int, hidden: int, heads: int, layout: Layout) -> float:
    """What one trained layer keeps for its backward pass.

    A slot: the two norms' inputs and 4 statistics in float32; their outputs 2 d, query, key and value 3 d, attention's
    output d, hidden 2 h; the probabilities, heads x L, on the CPU for rows that are not long, else a number a head.
    On a GPU dropout keeps a byte for each of 2 d + h numbers; on the CPU its masks lie in one pool.
    """
    kept = view.length if layout.device == "cpu" and view.length <= _LONGEST_KEPT else 1
    in_products = 6 * dim + 2 * hidden
    masks = 0 if layout.device == "cpu" else 2 * dim + hidden
    return view.slots * (_FLOAT * (2 * dim + 4 + heads * kept) + layout.activation_bytes * in_products + masks)


def view_activation_bytes(view: ViewShape, config: Config, trained: int, read: int, layout: Layout) -> float:
    """What one view keeps: embedding, mask, every trained layer, outputs of all experts and their gates."""
    dim, hidden, heads = config.model.dim, hidden_size(config), config.model.num_heads
    layer = block_activation_bytes(view, dim, hidden, heads, layout)
    final_norms = trained * view.slots * (dim + 2) * _FLOAT - max(0, trained - 1) * view.slots * dim * _FLOAT
    embedding = view.slots * _FLOAT * (2 * dim + 2)
    outputs = view.slots * _FLOAT * ((trained + read) * (dim + 1) + dim)
    mask = view.slots * view.length * (_FLOAT + 1)
    indices = 5 * _INDEX * view.slots
    return trained * config.model.num_layers * layer + final_norms + embedding + outputs + mask + indices


def _answer_bytes(step: StepShape, config: Config) -> float:
    """Towers and query vectors: for each answer 6 d + 3 h + 4 numbers; anchors S^2 scores, three times."""
    rows = _ANSWERS * step.targets
    towers = rows * _FLOAT * (6 * config.model.dim + 3 * hidden_size(config) + 4)
    information = 3 * _FLOAT * step.anchors**2 if config.loss.mutual_information_weight else 0.0
    return towers + information


def _logit_bytes(step: StepShape, workload: Workload, layout: Layout) -> float:
    """What the loss holds beside queries and tables.

    `full`: blocks of bounded size, and gradients of the queries and of all items for each answer; `sampled`: the matrix
    of 2 N x m, once kept and once more in the product; `bce`: m vectors for each target and their gradient.
    """
    config, dim = workload.config, workload.config.model.dim
    queries = _ANSWERS * step.targets * dim * _FLOAT
    if config.loss.kind == "full":
        scores = step.targets / workload.domains * workload.items / workload.domains / layout.shards * _FLOAT
        blocks = min(scores, _BLOCK_BYTES["cpu" if layout.device == "cpu" else "other"])
        return 2 * queries + 2 * blocks + (_ANSWERS + 2) * workload.items / layout.shards * dim * _FLOAT
    matrix = _ANSWERS * step.targets * config.loss.num_negatives * _FLOAT
    if config.loss.kind == "sampled":
        return queries + 1.25 * matrix + 4 * workload.domains * config.loss.num_negatives * dim * _FLOAT
    return queries + 3 * matrix + 3 * step.targets * config.loss.num_negatives * dim * _FLOAT


def memory_parts(workload: Workload, layout: Layout) -> dict[str, float]:
    """Bytes of one device by part; with `layout.shards` each device holds its share of the item table.

    The table's gradient is as large as the table where all rows are updated (twice while that of the look-ups and that
    of the full softmax are added up), else it has the entries of a step, once as they come and once sorted.
    """
    config, step, dim = workload.config, workload.step, workload.config.model.dim
    table = (workload.items + workload.domains + 1) * dim * _FLOAT / layout.shards
    dense = num_dense_parameters(config, workload.domains) * _FLOAT
    if config.updates_rows(workload.items):
        entries = touched_entries(step, config, workload.domains)
        rows = rows_touched(entries, workload.items)
        gradients = entries * (dim * _FLOAT + _INDEX) + rows * (5 * dim * _FLOAT + _INDEX)
    else:
        gradients = (2 if config.loss.kind == "full" else 1) * table
    passes = expert_passes(config)
    views = (("cross", step.cross), ("single", step.single))
    activations = sum(view_activation_bytes(view, config, *passes[name], layout) for name, view in views)
    largest = max(step.cross.slots, step.single.slots, _ANSWERS * step.targets)
    is_pooled = layout.device == "cpu" and config.model.dropout > 0
    pool = _POOL * largest * max(dim, hidden_size(config)) * _FLOAT * 1.25 if is_pooled else 0.0
    exchange = 2 * rows_touched(touched_entries(step, config, workload.domains), workload.items) * dim * _FLOAT
    return {
        "item table": table,
        "item moments": _MOMENTS * table,
        "item gradients": gradients,
        "dense weights, moments and gradients": (2 + _MOMENTS) * dense,
        "activations": activations + _answer_bytes(step, config) + pool,
        "logits and loss": _logit_bytes(step, workload, layout),
        **({"vectors exchanged": exchange} if layout.shards > 1 else {}),
    }


def validation_bytes(workload: Workload) -> float:
    """Query vectors of all users under both answers, and vectors of all items: held at once by a validation."""
    return (_ANSWERS * workload.users / workload.processes + workload.items) * workload.config.model.dim * _FLOAT
