"""The machine's own matrix-product rate at exactly the products that a training step makes.

`recorded_products` runs a step and notes every product, forward and backward, with shapes, transposition and dtype;
`rate_of` computes them again, bare, and gives multiply-adds times two a CPU-second. This is the most that the step
could reach if everything else were free.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["rate_of", "recorded_products"]

Operand = tuple[tuple[int, ...], bool, torch.dtype]  # shape, is it transposed in memory, dtype
Product = tuple[Operand, Operand]

_PLACES = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "addmm_": (1, 2), "baddbmm": (1, 2), "_grouped_mm": (0, 1)}


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[Product] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in _PLACES:
            left, right = (args[place] for place in _PLACES[name])
            self._note(left, right)
        elif name.startswith("_scaled_dot_product_flash_attention_for_cpu"):
            query, key = args[1:3] if name.endswith("backward") else args[:2]
            self._note_attention(query, key, times=5 if name.endswith("backward") else 2)
        return function(*args, **(kwargs or {}))

    def _note(self, left: torch.Tensor, right: torch.Tensor) -> None:
        right = right[0] if right.dim() > left.dim() else right  # grouped: a row meets the matrix of its group
        if left.numel() and right.numel():
            self.products[_operand(left), _operand(right)] += 1

    def _note_attention(self, query: torch.Tensor, key: torch.Tensor, times: int) -> None:
        rows, heads, length, dim = query.shape
        wide = ((rows * heads, length, dim), False, query.dtype)
        tall = ((rows * heads, dim, key.shape[2]), True, query.dtype)
        self.products[wide, tall] += times


def _operand(tensor: torch.Tensor) -> Operand:
    return tuple(tensor.shape), tensor.stride(-1) != 1, tensor.dtype


def recorded_products(step: Callable[[], object]) -> Counter[Product]:
    """How often `step` makes each product."""
    with _Recorder() as recorder:
        step()
    return recorder.products


def rate_of(products: Counter[Product]) -> float:
    """Multiply-adds times two a CPU-second, all `products` computed bare, the best of five for each."""
    work = seconds = 0.0
    for (left, right), count in products.items():
        a, b = _example(left), _example(right)
        best = min(_cpu_seconds(lambda a=a, b=b: a @ b) for _ in range(5))
        work += count * 2 * a.numel() * b.shape[-1]
        seconds += count * best
    return work / seconds


def _example(operand: Operand) -> torch.Tensor:
    shape, is_transposed, dtype = operand
    if is_transposed:
        return torch.randn(*shape[:-2], shape[-1], shape[-2]).to(dtype).transpose(-1, -2)
    return torch.randn(shape).to(dtype)


def _cpu_seconds(function: Callable[[], object], times: int = 5) -> float:
    function()
    started = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - started) / times
