"""How much there is to do in a step, part by part: products, bytes moved, calls. Pure arithmetic, no machine.

Letters: d = dim, h = hidden size of feed-forward parts, K experts of `num_layers` layers, D domains, I items, N targets
of two answers each (A = 2), S slots of a view, L its row length, m negatives. A multiply-add is two floating point
operations; a trained product costs three times its forward pass (the gradients of both factors). Bytes are float32
passes over matrices, counted from the code of `nn/` and `losses/`; what a byte costs is measured part by part
(`laws.py`), so a miscount by a factor is taken up there, and only how the count grows matters.
"""

import math
from dataclasses import dataclass

from syncrec.config import Config
from syncrec.planning.workload import StepShape, ViewShape

__all__ = [
    "PARTS",
    "Work",
    "anchor_work",
    "attention_work",
    "block_work",
    "dense_table_work",
    "expert_passes",
    "gate_work",
    "hidden_size",
    "loss_work",
    "num_dense_parameters",
    "num_tensors",
    "optimizer_work",
    "packing_work",
    "part_of",
    "query_work",
    "ranking_work",
    "row_table_work",
    "rows_touched",
    "slot_work",
    "step_work",
    "touched_entries",
    "tower_work",
]

_FLOAT = 4
_LONGEST_KEPT = 128  # as in `nn/attention.py`: longer rows take torch's own attention
_ANSWERS = 2
_NUM_PERIODS, _NUM_GAPS = 33, 25  # rows of the two time tables (`nn/embedding.py`)

PARTS = (
    "packing",
    "slots",
    "encoder",
    "attention",
    "gates",
    "towers",
    "loss",
    "anchors",
    "item table",
    "optimizer",
    "step",
)
"""What a step consists of, in the order of doing; `slots` is the embedding and all else that goes by slots."""


def part_of(law: str) -> str:
    """The part of a step that a law belongs to: the one whose name its own begins with."""
    return next(part for part in PARTS if law.startswith(part))


@dataclass(frozen=True)
class Work:
    """Floating point operations in matrix products, bytes read and written beside them, calls of the whole thing."""

    flops: float = 0.0
    bytes: float = 0.0
    calls: float = 0.0

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.bytes * times, self.calls * times)

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.bytes + other.bytes, self.calls + other.calls)


def hidden_size(config: Config) -> int:
    """H."""
    return round(config.model.dim * config.model.feedforward_multiplier)


def num_dense_parameters(config: Config, num_domains: int) -> int:
    """Numbers that are learned beside the item table: experts, gates, towers, small tables, discriminators.

    A layer has 4 d^2 + 2 d h weights, 5 d + h biases (query, key, value and out; inner; outer) and two norms of 2 d.
    """
    d, h, model = config.model.dim, hidden_size(config), config.model
    layer = 4 * d * d + 2 * d * h + 5 * d + h + 4 * d
    experts = model.num_experts * (model.num_layers * layer + 2 * d)
    tasks = num_domains + 1
    gates = tasks * model.num_experts * (d + 1)
    towers = tasks * (2 * d * h + h + 3 * d)
    times = (_NUM_PERIODS + _NUM_GAPS) * d if model.time else 0
    positions = (model.max_length + 1) * d * (2 if model.positions == "both" else 1)
    tables = (num_domains + 1) * d + positions + times + 2 * d
    return experts + gates + towers + tables + num_domains * d * d


def expert_passes(config: Config) -> dict[str, tuple[int, int]]:
    """For each view the experts that it trains, and those that it only reads (M5)."""
    count, cross = config.model.num_experts, config.model.num_cross_experts
    single = count - cross
    if config.model.mixing in ("no-stop-gradient", "no-separation"):
        return {"cross": (count, 0), "single": (count, 0)}
    if config.model.mixing == "own-only":
        return {"cross": (cross, 0), "single": (single, 0)}
    return {"cross": (cross, single), "single": (single, cross)}


def packing_work(step: StepShape) -> Work:
    """Some forty passes of int64 arrays over the events, for either view; a call is a batch."""
    return Work(bytes=8 * 40 * 2 * step.targets, calls=1)


def slot_work(view: ViewShape, dim: int, hidden: int) -> Work:
    """One view before and after the experts: embedding sum, norm, dropout pool, mask, gradients into the tables.

    Some 20 passes over S x d, 4 draws of the dropout pool for S x max(d, h), 3 passes over the mask of L numbers a
    slot.
    """
    return Work(bytes=_FLOAT * view.slots * (20 * dim + 4 * max(dim, hidden) + 3 * view.length), calls=1)


def block_work(view: ViewShape, dim: int, hidden: int, *, is_trained: bool) -> Work:
    """One layer of one expert over one view, without its attention: 4 d^2 + 2 d h multiply-adds a slot.

    Forward some 14 d + 6 h floats a slot move (norms, residuals, activations); backward twice as many.
    """
    times = 3 if is_trained else 1
    return Work(
        flops=times * 2 * view.slots * (4 * dim * dim + 2 * dim * hidden),
        bytes=times * _FLOAT * view.slots * (14 * dim + 6 * hidden),
        calls=1,
    )


def attention_work(view: ViewShape, dim: int, heads: int, *, is_trained: bool) -> Work:
    """One layer's attention: scores and mixture are 2 L d multiply-adds a slot, the whole row and not its past alone.

    The probabilities, heads x L a slot, are walked through 4 times forward and 8 times backward.
    """
    times = 3 if is_trained else 1
    return Work(
        flops=times * 2 * view.slots * 2 * view.length * dim,
        bytes=times * 4 * _FLOAT * view.slots * (heads * view.length + dim),
        calls=1,
    )


def gate_work(view: ViewShape, dim: int, num_experts: int, num_tasks: int) -> Work:
    """Gates of all tasks at every slot, d K (D + 1) multiply-adds, and the gated sum of K outputs."""
    width = num_experts * num_tasks
    return Work(
        flops=3 * 2 * view.slots * dim * width,
        bytes=_FLOAT * view.slots * (6 * width + 6 * num_experts * dim),
        calls=1,
    )


def tower_work(targets: float, dim: int, hidden: int, num_tasks: int) -> Work:
    """Towers over both answers of each target, 2 d h multiply-adds; bias and norm go task by task, a call each."""
    rows = _ANSWERS * targets
    return Work(flops=3 * 2 * rows * 2 * dim * hidden, bytes=_FLOAT * rows * (20 * dim + 14 * hidden), calls=num_tasks)


def loss_work(targets: float, config: Config, items_a_domain: float, num_domains: int) -> Work:
    """The next-item loss of N targets under two answers, by its kind.

    `full`: each answer meets the I / D items of its domain; three products, four where the domain is too wide for one
    block and exponentials are computed twice. `sampled`: m shared negatives, three products. `bce`, `gbce`: m vectors
    gathered for each target, N m d floats, so bytes and not products count.
    """
    dim, kind, negatives = config.model.dim, config.loss.kind, config.loss.num_negatives
    if kind == "full":
        pairs = _ANSWERS * targets * items_a_domain
        products = 4 if items_a_domain > _WIDEST_BLOCK else 3
        return Work(flops=products * 2 * pairs * dim, bytes=_FLOAT * 4 * pairs, calls=num_domains)
    pairs = _ANSWERS * targets * negatives
    if kind == "sampled":
        drawn = num_domains * negatives * dim
        return Work(flops=3 * 2 * pairs * dim, bytes=_FLOAT * (8 * pairs + 8 * drawn), calls=1)
    return Work(flops=3 * 2 * pairs * dim, bytes=_FLOAT * (8 * targets * negatives * dim + 8 * pairs), calls=1)


_WIDEST_BLOCK = 8 * 2**19 // 128  # `losses/full_softmax.py`: _STRETCH x _BLOCK_ELEMENTS / _MIN_ROWS


def anchor_work(anchors: float, dim: int) -> Work:
    """Mutual information (M11): every anchor meets all of the step, S^2 d multiply-adds, whatever its domain."""
    return Work(
        flops=3 * 2 * (anchors**2 * dim + anchors * dim**2),
        bytes=_FLOAT * (12 * anchors**2 + 12 * anchors * dim),
        calls=1,
    )


def dense_table_work(num_items: float, dim: int, *, is_whole: bool) -> Work:
    """Every row of the item table, once a step: gradients of its uses added up, norm, clipping, AdamW.

    Some 24 passes over I x d; `is_whole`: the loss also takes the vectors of all items, and makes a gradient of them
    for both answers (some 20 passes more).
    """
    return Work(bytes=_FLOAT * num_items * dim * (44 if is_whole else 24), calls=1)


def row_table_work(entries: float, rows: float, dim: int) -> Work:
    """The rows of the item table that a step used: `entries` gradients sorted into `rows`, which are then moved.

    Some 8 passes over the entries and 20 over the rows, whatever the catalogue.
    """
    return Work(bytes=_FLOAT * dim * (8 * entries + 20 * rows) + 64 * entries, calls=1)


def touched_entries(step: StepShape, config: Config, num_domains: int) -> float:
    """Uses of the item table in a step: every slot of both views, every target, every negative."""
    uses = step.cross.slots + step.single.slots + step.targets
    if config.loss.kind == "full":
        return uses
    negatives = config.loss.num_negatives
    return uses + negatives * (num_domains if config.loss.kind == "sampled" else step.targets)


def rows_touched(entries: float, num_items: float) -> float:
    """Different rows among `entries` uniform draws from `num_items`: I (1 - (1 - 1/I)^n); popularity makes them fewer.

    A slot and the target it was before are one item; that they are counted twice makes this an upper bound too.
    """
    if num_items <= 1:
        return min(1.0, entries)
    return float(num_items * -math.expm1(entries * math.log1p(-1 / num_items)))


def optimizer_work(num_parameters: float, num_tensors: float) -> Work:
    """AdamW and clipping of the dense parameters: some 14 passes; a call is a tensor."""
    return Work(bytes=_FLOAT * 14 * num_parameters, calls=num_tensors)


def num_tensors(config: Config) -> int:
    """Dense parameters by count: 12 a layer, 2 a final norm, and those of gates, towers, tables."""
    tables = 8 if config.model.positions == "both" else 7
    return config.model.num_experts * (12 * config.model.num_layers + 2) + 2 + 6 + tables


def step_work(step: StepShape, config: Config, num_items: int, num_domains: int) -> dict[str, Work]:
    """Work of one step by the name of the law that says what it costs (`laws.LAWS`)."""
    model, d, h, tasks = config.model, config.model.dim, hidden_size(config), num_domains + 1
    found: dict[str, Work] = {"packing": packing_work(step), "step": Work(calls=1)}

    def add(name: str, work: Work) -> None:
        found[name] = found.get(name, Work()) + work

    for name, view in (("cross", step.cross), ("single", step.single)):
        add("slots", slot_work(view, d, h))
        trained, read = expert_passes(config)[name]
        for count, is_trained in ((trained, True), (read, False)):
            suffix = " trained" if is_trained else " read"
            layers = count * model.num_layers
            add("encoder" + suffix, block_work(view, d, h, is_trained=is_trained) * layers)
            kind = "attention, short rows" if view.length <= _LONGEST_KEPT else "attention, long rows"
            add(kind + suffix, attention_work(view, d, model.num_heads, is_trained=is_trained) * layers)
        add("gates", gate_work(view, d, trained + read, tasks))
    add("towers", tower_work(step.targets, d, h, tasks))
    add(
        "loss " + config.loss.kind.removeprefix("g"),
        loss_work(step.targets, config, num_items / num_domains, num_domains),
    )
    if config.loss.mutual_information_weight:
        add("anchors", anchor_work(step.anchors, d))
    if config.updates_rows(num_items):
        entries = touched_entries(step, config, num_domains)
        add("item table, rows", row_table_work(entries, rows_touched(entries, num_items), d))
    else:
        is_whole = config.loss.kind == "full"
        law = "item table, whole" if is_whole else "item table, dense"
        add(law, dense_table_work(num_items, d, is_whole=is_whole))
    add("optimizer", optimizer_work(num_dense_parameters(config, num_domains), num_tensors(config)))
    return found


def query_work(config: Config, view: ViewShape) -> dict[str, Work]:
    """The network asked after every event of one view, nothing learned: what validation does with each history."""
    d, layers = config.model.dim, config.model.num_experts * config.model.num_layers
    kind = "attention, short rows" if view.length <= _LONGEST_KEPT else "attention, long rows"
    return {
        "encoder read": block_work(view, d, hidden_size(config), is_trained=False) * layers,
        kind + " read": attention_work(view, d, config.model.num_heads, is_trained=False) * layers,
    }


def ranking_work(queries: float, items: float, dim: int) -> Work:
    """Full ranks of `queries` among `items` each: a product, and three passes over the scores to check and count."""
    return Work(flops=2 * queries * items * dim, bytes=_FLOAT * 3 * queries * items, calls=1)
