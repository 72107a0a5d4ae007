"""Checkpoints: one safetensors file each, tensors plus JSON in its header; no pickle.

A checkpoint is replaced in one rename: whenever a process is killed, the file is the old one or the new one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from syncrec import artifacts
from syncrec.errors import CheckpointError

__all__ = [
    "FORMAT",
    "Checkpoint",
    "load_checkpoint",
    "load_module",
    "load_optimizer",
    "load_state",
    "optimizer_tensors",
    "save_checkpoint",
]

FORMAT = "syncrec-checkpoint-1"
_HEADER = "syncrec"


@dataclass(frozen=True)
class Checkpoint:
    """Named groups of tensors (`model`, `objective`, `optimizer`) and a JSON-able state."""

    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save_checkpoint(path: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint at `path` in one step."""
    flat = {
        f"{group}/{name}": tensor.detach().contiguous().cpu()
        for group, entries in tensors.items()
        for name, tensor in entries.items()
    }
    # One key: safetensors writes several in no fixed order, and the same run should give the same bytes.
    header = {_HEADER: json.dumps({"format": FORMAT, "state": state}, allow_nan=False)}
    artifacts.write_bytes(path, safetensors.torch.save(flat, header))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or of another format.
    """
    state, flat = _read(path, with_tensors=True)
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in flat.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = tensor
    return Checkpoint(groups, state)


def load_state(path: Path) -> dict[str, Any]:
    """The state of a checkpoint alone, whose tensors are not read.

    Raises:
        CheckpointError: as of `load_checkpoint`.
    """
    return _read(path, with_tensors=False)[0]


def _read(path: Path, *, with_tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; train the run first")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "{}"))
            flat = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: damaged checkpoint: {error}; train again") from None
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format is {header.get('format')!r}, expected {FORMAT!r}; train again")
    return header["state"], flat


def load_module(module: nn.Module, saved: Mapping[str, Tensor], what: str) -> None:
    """Copy `saved` into `module`.

    Raises:
        CheckpointError: a tensor is missing, unknown or of another shape; the text names it and both shapes.
    """
    expected = module.state_dict()
    for name, tensor in expected.items():
        if name not in saved:
            raise CheckpointError(f"{what}: the checkpoint lacks {name!r} {tuple(tensor.shape)}; train again")
        if saved[name].shape != tensor.shape:
            raise CheckpointError(
                f"{what}: {name!r} is saved as {tuple(saved[name].shape)}, expected {tuple(tensor.shape)}"
            )
    unknown = sorted(set(saved) - set(expected))
    if unknown:
        raise CheckpointError(
            f"{what}: the checkpoint holds {unknown[0]!r}, which the model does not have; train again"
        )
    module.load_state_dict(dict(saved))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's per-parameter tensors, named `<parameter number>/<entry>`."""
    states = optimizer.state_dict()["state"]
    return {f"{number}/{entry}": value for number, state in states.items() for entry, value in state.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    """Give `optimizer` the tensors of `optimizer_tensors`; hyper-parameters stay as they are.

    Raises:
        CheckpointError: a tensor belongs to no parameter, or to one of another shape.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in saved.items():
        number, _, entry = name.partition("/")
        shape = parameters[int(number)].shape if int(number) < len(parameters) else None
        if tensor.dim() and tensor.shape != shape:
            expected = "no such parameter" if shape is None else f"expected {tuple(shape)}"
            raise CheckpointError(f"optimizer: {name!r} is saved as {tuple(tensor.shape)}, {expected}")
        states.setdefault(int(number), {})[entry] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
