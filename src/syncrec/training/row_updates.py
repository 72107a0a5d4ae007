"""Updates of large item tables that touch the rows used in a step and no others.

A table of a million items is nearly the whole model, and a step uses a few thousand of its rows. With sparse gradients
the cost of a step does not depend on the catalogue.
"""

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor

from syncrec.parallel import sum_over_processes

__all__ = ["RowAdamW", "clip_gradients"]


class RowAdamW(torch.optim.AdamW):
    """AdamW whose sparse gradients move the rows they hold, moments and decay included; dense ones as ever.

    Source: the lazy Adam of `torch.optim.SparseAdam`, with the decoupled decay of Loshchilov and Hutter 2019. Departure
    from AdamW: a row that is not used keeps its moments and is not decayed in that step.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update of all parameters that have a gradient."""
        sparse = [(p, group) for group in self.param_groups for p in group["params"] if _is_sparse(p.grad)]
        gradients = [p.grad.coalesce() for p, _ in sparse]
        for parameter, _ in sparse:
            parameter.grad = None
        result = super().step(closure)
        for (parameter, group), gradient in zip(sparse, gradients, strict=True):
            self._update_rows(parameter, group, gradient.indices()[0], gradient.values())
            parameter.grad = gradient
        return result

    def _update_rows(self, parameter: Tensor, group: dict[str, Any], rows: Tensor, gradient: Tensor) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        count, (beta1, beta2) = float(state["step"]), group["betas"]
        first = state["exp_avg"][rows].lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = first, second
        scale = (second / (1 - beta2**count)).sqrt_().add_(group["eps"])
        moved = parameter[rows].mul_(1 - group["lr"] * group["weight_decay"])
        parameter[rows] = moved.addcdiv_(first, scale, value=-group["lr"] / (1 - beta1**count))


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], max_norm: float, sharded: Collection[Tensor] = ()) -> Tensor:
    """Scale all gradients, sparse ones too, so that their common norm is at most `max_norm`; gives the norm before.

    Of the parameters in `sharded` each process has other rows; the norm is that of all rows.
    """
    values, parts = [], []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
        values.append(parameter.grad._values() if parameter.grad.is_sparse else parameter.grad)
        parts.append(any(parameter is other for other in sharded))
    norms = torch.stack(torch._foreach_norm(values))
    if any(parts):
        is_part = torch.tensor(parts, device=norms.device)
        norms = torch.where(is_part, sum_over_processes(norms.square() * is_part).sqrt(), norms)
    norm = torch.linalg.vector_norm(norms)
    torch._foreach_mul_(values, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _is_sparse(gradient: Tensor | None) -> bool:
    return gradient is not None and gradient.is_sparse
