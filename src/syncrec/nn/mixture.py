"""Sequential experts, gates and towers: the asymmetric cooperation of tasks (M3)-(M6).

Source: model.md (M3)-(M6); Park et al. 2024, Fig. 2 (c-4), (c-5). Gates and towers as in MMoE (Ma et al. 2018).
"""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from syncrec.nn.dropout import PooledDropout
from syncrec.nn.grouped import GroupedLinear, grouped_layer_norm
from syncrec.nn.packed import CausalTransformer

__all__ = ["ExpertMixture", "Mixing", "TaskGates", "TaskTowers"]

Mixing = Literal["asymmetric", "no-stop-gradient", "no-separation", "own-only"]


class TaskGates(nn.Module):
    """g_tau = softmax over the K experts of a linear map of the embedding at the position asked (M4).

    One map for each of the D + 1 tasks (0: cross, 1 + d: domain d). A gate sees its own position and nothing else, so
    it cannot see the future.
    """

    def __init__(self, num_tasks: int, dim: int, num_experts: int) -> None:
        super().__init__()
        self.num_tasks, self.num_experts = num_tasks, num_experts
        self.maps = nn.Linear(dim, num_tasks * num_experts)

    def forward(self, embedding: Tensor, tasks: Tensor) -> Tensor:
        """Weights float [..., K] that sum to 1, for `embedding` [..., dim] and `tasks` int [...]."""
        logits = self.maps(embedding).unflatten(-1, (self.num_tasks, self.num_experts))
        index = tasks[..., None, None].expand(*tasks.shape, 1, self.num_experts)
        return logits.gather(-2, index).squeeze(-2).float().softmax(-1)


class ExpertMixture(nn.Module):
    """K experts that every task reads and that only their own side trains (M5).

    The first `num_cross_experts` learn from the cross view, the others from the single view. What a task reads from
    the other side's experts carries no gradient, so it is computed without one. `mixing` switches parts off:

    - `asymmetric`: (M5);
    - `no-stop-gradient`: every task reads and trains all experts (MMoE);
    - `no-separation`: likewise, and all tasks also share one gate;
    - `own-only`: cross reads cross experts alone, single tasks single experts alone.
    """

    def __init__(self, experts: nn.ModuleList, num_cross_experts: int, gates: TaskGates, mixing: Mixing) -> None:
        super().__init__()
        self.experts = experts
        self.gates = gates
        self.num_cross_experts = num_cross_experts
        self.mixing = mixing

    def forward(
        self, embedding: Tensor, mask: Tensor, tasks: Tensor, *, is_cross: bool, asked: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mix the experts' outputs at every slot of one view, or at those that are asked for.

        Args:
            embedding: float [rows, length, dim].
            mask: additive float [rows, 1, length, length].
            tasks: int [rows, length], the task whose gate a slot uses.
            is_cross: whether this is the cross view.
            asked: int64 [N], flat slots.

        Returns:
            the mixture h, float [rows, length, dim], and the gates' weights, float [rows, length, K]; with `asked`
            [N, dim] and [N, K].
        """
        here = embedding if asked is None else embedding.flatten(0, 1).index_select(0, asked)
        weights = self._weights(here, tasks if asked is None else tasks.flatten()[asked], is_cross)
        read, outputs = zip(*self._outputs(embedding, mask, is_cross, asked), strict=True)
        mixture: Tensor = _WeightedSum.apply(weights, read, *outputs)  # type: ignore[no-untyped-call]
        return mixture, weights

    def _weights(self, embedding: Tensor, tasks: Tensor, is_cross: bool) -> Tensor:
        if self.mixing == "no-separation":
            return self.gates(embedding, torch.zeros_like(tasks))
        weights: Tensor = self.gates(embedding, tasks)
        if self.mixing != "own-only":
            return weights
        readable = torch.arange(len(self.experts), device=weights.device) < self.num_cross_experts
        weights = weights * (readable if is_cross else ~readable)
        return weights / weights.sum(-1, keepdim=True)

    def _outputs(
        self, embedding: Tensor, mask: Tensor, is_cross: bool, asked: Tensor | None
    ) -> Iterator[tuple[int, Tensor]]:
        """(expert number, its output [rows, length, dim] or [N, dim]) of every expert this view reads."""
        for index, expert in enumerate(self.experts):
            is_own = (index < self.num_cross_experts) == is_cross
            if is_own or self.mixing in ("no-stop-gradient", "no-separation"):
                yield index, expert(embedding, mask, asked)
            elif self.mixing == "asymmetric":
                with torch.no_grad():
                    output = expert(embedding, mask, asked)
                yield index, output


class _WeightedSum(torch.autograd.Function):
    """sum_k weights[..., read[k]] outputs[k], float32; one pass an output forward, and backward what is needed."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, read: tuple[int, ...], *outputs: Tensor) -> Tensor:
        ctx.read = read
        ctx.save_for_backward(weights, *outputs)
        out = torch.zeros_like(outputs[0], dtype=weights.dtype)
        for place, output in zip(read, outputs, strict=True):
            out.addcmul_(weights[..., place, None], output.to(out.dtype))
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        weights, *outputs = ctx.saved_tensors
        weights_grad = torch.zeros_like(weights)
        outputs_grad: list[Tensor | None] = []
        for number, (place, output) in enumerate(zip(ctx.read, outputs, strict=True)):
            weights_grad[..., place] = (grads[0] * output).sum(-1)
            is_needed = ctx.needs_input_grad[2 + number]
            outputs_grad.append((grads[0] * weights[..., place, None]).to(output.dtype) if is_needed else None)
        return weights_grad, None, *outputs_grad


class TaskTowers(nn.Module):
    """One tower a task: y = LayerNorm(h + feed-forward(h)), each task with its own parameters (M6)."""

    def __init__(self, num_tasks: int, dim: int, hidden_dim: int, dropout: PooledDropout) -> None:
        super().__init__()
        self.inner = GroupedLinear(num_tasks, dim, hidden_dim)
        self.outer = GroupedLinear(num_tasks, hidden_dim, dim)
        self.scale = nn.Parameter(torch.ones(num_tasks, dim))
        self.shift = nn.Parameter(torch.zeros(num_tasks, dim))
        self.dropout = dropout

    def forward(self, h: Tensor, counts: Tensor) -> Tensor:
        """Map [N, dim], sorted by task with `counts` [tasks] rows each, to [N, dim]."""
        hidden = self.dropout(nn.functional.relu(self.inner(h, counts)))
        out = self.dropout.add(h, self.outer(hidden, counts))
        return grouped_layer_norm(out.float(), self.scale, self.shift, counts)


def make_experts(
    count: int, dim: int, num_layers: int, num_heads: int, hidden_dim: int, dropout: PooledDropout
) -> nn.ModuleList:
    """K Transformers, each with its own parameters (M3)."""
    return nn.ModuleList(CausalTransformer(dim, num_layers, num_heads, hidden_dim, dropout) for _ in range(count))
