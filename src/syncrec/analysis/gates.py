"""How much each task takes from each expert: mean gate weights (M4)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from syncrec.data.dataset import Dataset, Queries
from syncrec.models.interface import SequentialModel
from syncrec.models.scoring import answer_vectors
from syncrec.nn.mixture import ExpertMixture, TaskGates

__all__ = ["gate_usage"]


class _Sums:
    """Sums of gate weights [tasks, K] and counts [tasks] of what was asked so far."""

    def __init__(self, num_tasks: int, num_experts: int) -> None:
        self.weights = torch.zeros(num_tasks, num_experts, dtype=torch.float64)
        self.counts = torch.zeros(num_tasks, dtype=torch.float64)

    def add(self, tasks: Tensor, weights: Tensor) -> None:
        tasks = tasks.cpu()
        self.weights.index_add_(0, tasks, weights.double().cpu())
        self.counts.index_add_(0, tasks, torch.ones(len(tasks), dtype=torch.float64))


def gate_usage(model: SequentialModel, dataset: Dataset, queries: Queries) -> dict[str, Any] | None:
    """Mean gate weight of every expert for every task over `queries`, in values for JSON; None without gates.

    Returns:
        `experts`, their names, and `tasks`, a list of `task` (`cross`, or the domain whose gate it is),
        `num_queries` and `weights` [K], which sum to 1. Tasks that were not asked are left out.
    """
    gates = next((module for module in model.modules() if isinstance(module, TaskGates)), None)
    if gates is None:
        return None
    mixture = next((module for module in model.modules() if isinstance(module, ExpertMixture)), None)
    sums = _Sums(gates.num_tasks, gates.num_experts)
    with _watched(mixture or gates, sums):
        answer_vectors(model, dataset, queries)
    names = ["cross", *dataset.domains] if gates.num_tasks > dataset.num_domains else list(dataset.domains)
    tasks = [
        {"task": name, "num_queries": int(count), "weights": (weights / count).tolist()}
        for name, count, weights in zip(names, sums.counts, sums.weights, strict=True)
        if count
    ]
    return {"experts": _expert_names(mixture, gates), "tasks": tasks}


def _expert_names(mixture: ExpertMixture | None, gates: TaskGates) -> list[str]:
    if mixture is None:
        return [f"expert {number}" for number in range(1, gates.num_experts + 1)]
    num_cross = mixture.num_cross_experts
    kinds = np.where(np.arange(gates.num_experts) < num_cross, "cross", "single")
    return [f"{kind} {i + 1 if kind == 'cross' else i + 1 - num_cross}" for i, kind in enumerate(kinds.tolist())]


@contextmanager
def _watched(module: nn.Module, sums: _Sums) -> Iterator[None]:
    """While the block runs, `sums` takes what the gates of `module` give."""

    def take(watched: nn.Module, given: tuple[Any, ...], named: dict[str, Any], out: Any) -> None:
        if isinstance(watched, TaskGates):
            sums.add(given[1], out)
            return
        tasks, asked = given[2], named.get("asked")
        sums.add(tasks.flatten() if asked is None else tasks.flatten()[asked], out[1].flatten(0, -2))

    handle = module.register_forward_hook(take, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
