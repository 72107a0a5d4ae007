"""Measurements of the parts of a step: the package's own modules, forward and backward, at a few shapes each.

A probe gives (work, seconds) pairs to which `laws.fit_law` fits. Shapes are chosen to lie around those of trainings
(dims 32 to 192, rows of 24 to 250 slots); none is a size that `benchmarks/plan_check.py` checks.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from syncrec.config import LossConfig, TrainingConfig, load_config
from syncrec.data.catalogue import Catalogue
from syncrec.data.packing import BatchPacker
from syncrec.losses.mutual_information import MutualInformation
from syncrec.losses.next_item import NegativeSampler, NextItemLoss, Targets
from syncrec.nn.attention import packed_attention
from syncrec.nn.dropout import PooledDropout
from syncrec.nn.embedding import HistoryEmbedding, TimeEmbedding
from syncrec.nn.item_table import ItemTable
from syncrec.nn.mixture import ExpertMixture, TaskGates, TaskTowers
from syncrec.nn.packed import CausalTransformer, block_causal_mask
from syncrec.parallel import PendingRows
from syncrec.planning import work
from syncrec.planning.laws import Law, fit_law
from syncrec.planning.steps import Clock
from syncrec.planning.work import Work
from syncrec.planning.workload import ViewShape, history_lengths, sample_batch
from syncrec.training.optimizer import make_optimizer
from syncrec.training.row_updates import clip_gradients

__all__ = ["Measured", "Probe", "measure_laws"]

Measured = list[tuple[Work, float]]

_DIMS = (32, 96, 192)
_HEADS = 2
_SHORT_ROWS, _LONG_ROWS = (24, 56, 112), (144, 250)
_SLOTS = (900, 5000)


@dataclass(frozen=True)
class Probe:
    """Measures on one device in one precision."""

    clock: Clock
    device: torch.device
    precision: torch.dtype

    def seconds(self, forward: Callable[[], Tensor], *, is_trained: bool = True) -> float:
        """Of `forward` and, if trained, its backward pass."""

        def run() -> None:
            with (
                torch.set_grad_enabled(is_trained),
                torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32),
            ):
                out = forward()
            if is_trained:
                out.backward(torch.ones_like(out))  # type: ignore[no-untyped-call]

        return self.clock.seconds(run)

    def random(self, *shape: int, is_leaf: bool = True) -> Tensor:
        """Normal numbers, with a gradient."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(shape, generator=generator).to(self.device).requires_grad_(is_leaf)

    def dropout(self, slots: int, width: int) -> PooledDropout:
        """Dropout with its pool filled."""
        dropout = PooledDropout(0.3)
        dropout.refill(slots * width)
        return dropout


def _views(lengths: tuple[int, ...]) -> Iterator[ViewShape]:
    for slots in _SLOTS:
        for length in lengths:
            rows = slots // length
            yield ViewShape(rows, length, rows * length)


def _mask(probe: Probe, view: ViewShape) -> Tensor:
    """Two segments a row."""
    segments = (torch.arange(view.length) >= view.length // 2).long().expand(int(view.rows), -1)
    allowed = block_causal_mask(segments.to(probe.device))
    return torch.zeros(allowed.shape, device=probe.device).masked_fill_(~allowed, -torch.inf)


def _attention(probe: Probe, lengths: tuple[int, ...], *, is_trained: bool) -> Measured:
    found: Measured = []
    for dim in _DIMS:
        for view in _views(lengths):
            joined, mask = probe.random(int(view.rows), view.length, 3 * dim), _mask(probe, view)
            done = work.attention_work(view, dim, _HEADS, is_trained=is_trained)
            forward = partial(packed_attention, joined, mask, _HEADS)
            found.append((done, probe.seconds(forward, is_trained=is_trained)))
    return found


def _encoder(probe: Probe, *, is_trained: bool) -> Measured:
    """A block less its attention, measured by itself at the same shape."""
    found: Measured = []
    for dim in _DIMS:
        for view in _views((32, 80)):
            joined, inner_mask = probe.random(int(view.rows), view.length, 3 * dim), _mask(probe, view)
            inner = probe.seconds(partial(packed_attention, joined, inner_mask, _HEADS), is_trained=is_trained)
            for multiplier in (1, 2):
                block = CausalTransformer(dim, 1, _HEADS, dim * multiplier, probe.dropout(_SLOTS[-1], dim * multiplier))
                x, mask = probe.random(int(view.rows), view.length, dim), _mask(probe, view)
                block.to(probe.device)
                forward = partial(block, x, mask)
                whole = probe.seconds(forward, is_trained=is_trained)
                done = work.block_work(view, dim, dim * multiplier, is_trained=is_trained)
                found.append((done, max(whole - inner, 0.2 * whole)))
    return found


def _slots(probe: Probe) -> Measured:
    """The embedding over a small table, the dropout pool and the mask."""
    found: Measured = []
    for dim in _DIMS:
        for view in _views((24, 56, 112, 230)):
            shape = (int(view.rows), view.length)
            dropout = PooledDropout(0.3)
            embedding = HistoryEmbedding(500, 4, 250, dim, dropout, TimeEmbedding(dim, 32)).to(probe.device)
            tokens = torch.arange(view.length, device=probe.device).expand(shape)

            def forward(
                e: HistoryEmbedding = embedding, t: Tensor = tokens, v: ViewShape = view, d: PooledDropout = dropout
            ) -> Tensor:
                d.refill(int(v.slots) * 2 * e.items.embedding_dim // 2)  # one pool serves both views
                _mask(probe, v)
                out: Tensor = e(t, t % 4, t, t * 1000)
                return out

            found.append((work.slot_work(view, dim, 2 * dim), probe.seconds(forward)))
    return found


class _Echo(nn.Module):
    """An expert that costs nothing."""

    def forward(self, x: Tensor, mask: Tensor, asked: Tensor | None) -> Tensor:  # noqa: ARG002
        return x


def _gates(probe: Probe) -> Measured:
    found: Measured = []
    for dim in _DIMS:
        for experts, tasks in ((2, 3), (6, 5), (4, 17)):
            gates = TaskGates(tasks, dim, experts)
            mixture = ExpertMixture(nn.ModuleList(_Echo() for _ in range(experts)), 1, gates, "asymmetric")
            mixture.to(probe.device)
            for view in _views((56,)):
                x = probe.random(int(view.rows), view.length, dim)
                chosen = torch.zeros(x.shape[:2], dtype=torch.long, device=probe.device)

                def forward(m: ExpertMixture = mixture, x: Tensor = x, c: Tensor = chosen) -> Tensor:
                    mixed: Tensor = m(x, x, c, is_cross=True)[0]
                    return mixed

                found.append((work.gate_work(view, dim, experts, tasks), probe.seconds(forward)))
    return found


def _towers(probe: Probe) -> Measured:
    found: Measured = []
    for dim in _DIMS:
        for targets, tasks, multiplier in ((200, 3, 2), (2000, 4, 2), (4000, 6, 1), (1500, 17, 2)):
            towers = TaskTowers(tasks, dim, multiplier * dim, probe.dropout(2 * targets, multiplier * dim))
            towers.to(probe.device)
            counts = torch.full((tasks,), 2 * targets // tasks, device=probe.device)
            x = probe.random(int(counts.sum()), dim)
            done = work.tower_work(len(x) / 2, dim, multiplier * dim, tasks)
            found.append((done, probe.seconds(partial(towers, x, counts))))
    return found


def _loss(probe: Probe, kind: str) -> Measured:
    """Over catalogues so small that the table's own cost is none."""
    sizes = {
        "full": ((300, 500, 2), (600, 1500, 4), (1500, 12_000, 3)),
        "sampled": ((300, 200, 2), (3000, 300, 4), (4000, 2000, 6)),
    }
    found: Measured = []
    for dim in _DIMS:
        for targets, rivals, domains in sizes.get(kind, ((800, 60, 4), (1200, 100, 3))):
            items = rivals if kind == "full" else 2000
            settings = [f"loss.kind={kind}", f"loss.num_negatives={rivals}", f"model.dim={dim}"]
            config = load_config(None, settings)
            forward = _loss_call(probe, config.loss, targets, items, domains, dim)
            found.append((work.loss_work(targets, config, items, domains), probe.seconds(forward)))
    return found


def _loss_call(
    probe: Probe, config: LossConfig, count: int, items: int, domains: int, dim: int
) -> Callable[[], Tensor]:
    offsets = tuple(range(0, items * domains + 1, items))
    loss = NextItemLoss(config, offsets, NegativeSampler(offsets, np.ones(offsets[-1], dtype=np.int64), "uniform"))
    table, queries = probe.random(offsets[-1], dim), probe.random(count, 2, dim)
    domain = torch.arange(count, device=probe.device) * domains // count
    chosen = torch.arange(count, device=probe.device) % items + domain * items
    targets = Targets(chosen, domain, torch.bincount(domain, minlength=domains))

    def vectors(rows: Tensor | None) -> Tensor:
        return nn.functional.normalize(table if rows is None else nn.functional.embedding(rows, table), dim=-1)

    def forward() -> Tensor:
        scaled = nn.functional.normalize(queries, dim=-1) * 10
        return loss(scaled, vectors, targets, torch.Generator().manual_seed(0)).mean()

    return forward


def _anchors(probe: Probe) -> Measured:
    found: Measured = []
    for dim in _DIMS:
        for anchors, domains in ((40, 2), (150, 3), (400, 4), (1200, 12)):
            module = MutualInformation(domains, dim).to(probe.device)
            of = torch.arange(anchors, device=probe.device) * domains // anchors
            counts = torch.bincount(of, minlength=domains)[None]
            x, y = probe.random(anchors, dim), probe.random(anchors, dim)
            forward = partial(module, x, PendingRows(y, [anchors]), counts)
            found.append((work.anchor_work(anchors, dim), probe.seconds(forward)))
    return found


def _update(module: nn.Module) -> Callable[[], None]:
    """Clipping and AdamW as in a step, on gradients that are there."""
    optimizer = make_optimizer([module], TrainingConfig())
    parameters = list(module.parameters())

    def run() -> None:
        clip_gradients(parameters, 1.0)
        optimizer.step()

    return run


def _table(probe: Probe, *, is_whole: bool) -> Measured:
    """A table whose rows all get a gradient: of two lookups and the positives or, `is_whole`, of all vectors."""
    found: Measured = []
    for items, dim in ((2000, 32), (20_000, 48), (60_000, 96), (250_000, 32)):
        table = ItemTable(items, dim).to(probe.device)
        update = _update(table)
        few = torch.arange(200, device=probe.device)

        def run(table: ItemTable = table, few: Tensor = few, update: Callable[[], None] = update) -> None:
            table.weight.grad = None
            uses = [table(few).sum() for _ in range(3)]
            if is_whole:
                vectors = nn.functional.normalize(table.weight, dim=-1)
                answers = torch.zeros(2, *vectors.shape, device=vectors.device)  # as the loss makes them
                uses.append((vectors * answers.sum(0)).sum())
                vectors.detach().norm(dim=1).amax()
            else:
                uses.append(nn.functional.normalize(table(few), dim=-1).sum())
            torch.stack(uses).sum().backward()  # type: ignore[no-untyped-call]
            update()

        found.append((work.dense_table_work(items, dim, is_whole=is_whole), probe.clock.seconds(run, 3)))
    return found


def _rows(probe: Probe) -> Measured:
    """A large table of which a step uses some rows."""
    found: Measured = []
    for dim, entries in ((32, 6000), (96, 6000), (96, 25_000), (192, 12_000)):
        table = nn.Embedding(200_000, dim, sparse=True).to(probe.device)
        update = _update(table)
        random = torch.Generator().manual_seed(0)
        parts = torch.randint(len(table.weight), (entries,), generator=random).to(probe.device).chunk(4)
        rows = work.rows_touched(entries, len(table.weight))

        def run(
            table: nn.Embedding = table, parts: tuple[Tensor, ...] = parts, update: Callable[[], None] = update
        ) -> None:
            table.weight.grad = None
            torch.stack([table(part).sum() for part in parts]).sum().backward()  # type: ignore[no-untyped-call]
            update()

        found.append((work.row_table_work(entries, rows, dim), probe.clock.seconds(run)))
    return found


def _optimizer(probe: Probe) -> Measured:
    found: Measured = []
    for count, size in ((20, 32), (60, 96), (120, 160), (40, 300)):
        module = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(count)).to(probe.device)
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        done = work.optimizer_work(count * size * size, count)
        found.append((done, probe.clock.seconds(_update(module))))
    return found


def _packing(probe: Probe) -> Measured:
    found: Measured = []
    for users, mean, domains in ((60, 15, 3), (200, 30, 6), (100, 90, 4)):
        sizes = [1000] * domains
        lengths = history_lengths(mean, users)
        packer = BatchPacker(Catalogue(tuple(range(0, 1000 * domains + 1, 1000))), 100)
        events = np.arange(int(lengths.sum()), dtype=np.int64) * 7919 % (1000 * domains)
        step = sample_batch(lengths, sizes, int(lengths.max()))
        done = Work(bytes=8 * 40 * 2 * len(step.targets), calls=1)
        forward = partial(packer.training_batch, events, lengths, events)
        found.append((done, probe.clock.seconds(forward)))
    return found


def _ranking(probe: Probe) -> Measured:
    """Full ranks, as `evaluation` counts them."""
    from syncrec.evaluation import full_ranks
    from syncrec.models.scoring import VectorScorer
    from syncrec.planning.samples import make_dataset

    found: Measured = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (users, items) in enumerate(((300, 3000), (300, 30_000))):
            dataset = make_dataset(np.full(users, 5), [items], path=Path(folder) / str(number))
            queries = dataset.queries("test")
            for dim in _DIMS:
                scorer = VectorScorer(probe.random(users, dim).detach(), probe.random(items, dim).detach())
                forward = partial(full_ranks, queries, dataset, {"answer": scorer})
                found.append((work.ranking_work(users, items, dim), probe.clock.seconds(forward, 3)))
    return found


def measure_laws(probe: Probe) -> dict[str, Law]:
    """Every law but `step`, which is what whole steps take beyond the others."""
    laws: dict[str, Law] = {}
    for suffix, is_trained in ((" trained", True), (" read", False)):
        for name, lengths in (("attention, short rows", _SHORT_ROWS), ("attention, long rows", _LONG_ROWS)):
            laws[name + suffix] = fit_law(_attention(probe, lengths, is_trained=is_trained))
        laws["encoder" + suffix] = fit_law(_encoder(probe, is_trained=is_trained))
    for name, measure in (("slots", _slots), ("gates", _gates), ("towers", _towers), ("anchors", _anchors)):
        laws[name] = fit_law(measure(probe))
    for kind in ("full", "sampled", "bce"):
        laws["loss " + kind] = fit_law(_loss(probe, kind))
    laws["item table, whole"] = fit_law(_table(probe, is_whole=True))
    laws["item table, dense"] = fit_law(_table(probe, is_whole=False))
    for name, measure in (("item table, rows", _rows), ("optimizer", _optimizer), ("packing", _packing)):
        laws[name] = fit_law(measure(probe))
    laws["ranking"] = fit_law(_ranking(probe))
    return laws
