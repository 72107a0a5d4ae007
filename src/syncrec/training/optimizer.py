"""AdamW without decay on biases and norms, and the learning rate as a function of the step."""

import math
from collections.abc import Iterable

from torch import nn

from syncrec.config import TrainingConfig
from syncrec.training.row_updates import RowAdamW

__all__ = ["learning_rate", "make_optimizer"]


def make_optimizer(modules: Iterable[nn.Module], config: TrainingConfig) -> RowAdamW:
    """AdamW (Loshchilov and Hutter 2019) over all parameters; biases and norms are not decayed.

    Tables with sparse gradients are updated in the rows used.
    """
    parameters = [(n, p) for module in modules for n, p in module.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for n, p in parameters if _is_decayed(n, p)], "weight_decay": config.weight_decay},
        {"params": [p for n, p in parameters if not _is_decayed(n, p)], "weight_decay": 0.0},
    ]
    return RowAdamW(groups, lr=config.learning_rate, fused=True)


def _is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """By name too: what is a vector in one task is a matrix where it differs by task."""
    return parameter.dim() > 1 and not name.endswith(("bias", "scale", "shift"))


def learning_rate(config: TrainingConfig, step: int, total_steps: int) -> float:
    """Learning rate of step 0, 1, ...: linear warm-up, then constant or half a cosine down to 1 % of the peak."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    progress = min(1.0, (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps))
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
