"""Checkpoints of a model whose item table is shared out over processes.

The file is that of `syncrec.checkpoint`, without the rows of such tables and the optimizer's moments of them. These lie
in a folder beside it, which the file's state names: it is written first, by all processes, and the file is replaced
after it, by the main one. So whenever a process is killed, the file names a whole folder. Any number of processes reads
it.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from syncrec.checkpoint import Checkpoint, load_checkpoint, optimizer_tensors, save_checkpoint
from syncrec.errors import CheckpointError
from syncrec.parallel import ShardedTable, all_at_once, processes, sum_over_processes, together
from syncrec.parallel.shards import load_shards, save_shards

__all__ = ["load_together", "save_together"]

_SHARDS = "shards"  # in the state: {"folder": name, "tensors": [names]}


def save_together(
    path: Path,
    modules: Mapping[str, nn.Module],
    state: Mapping[str, Any],
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Replace the checkpoint at `path`, by all processes together.

    Args:
        path: of the file.
        modules: group -> what to save the tensors of.
        state: JSON-able, the same in all processes.
        optimizer: becomes the group `optimizer`.
    """
    groups = {name: module.state_dict() for name, module in modules.items()}
    if optimizer is not None:
        groups["optimizer"] = optimizer_tensors(optimizer)
    table = _table(modules.values())
    rows = {} if table is None else _rows_of_table(groups, modules, optimizer)
    if rows and table is not None:
        folder = _fresh_folder(path)
        save_shards(folder, {name: groups[group][key] for name, (group, key) in rows.items()}, table.num_rows)
        for group, key in rows.values():
            del groups[group][key]
        state = {**state, _SHARDS: {"folder": folder.name, "tensors": sorted(rows)}}
    together(lambda: _replace(path, groups, state) if processes().is_main else None)


def load_together(path: Path, model: nn.Module) -> Checkpoint:
    """The checkpoint at `path`, with those rows of the model's table that this process holds, if it is shared out.

    All processes must load it together.

    Raises:
        CheckpointError: it is missing, damaged, or without the folder that it names.
    """
    table = _table([model])

    def read() -> Checkpoint:
        found = load_checkpoint(path)
        if (named := found.state.get(_SHARDS)) is not None:
            folder = path.parent / named["folder"]
            if table is None or not (folder / ".metadata").exists():
                raise CheckpointError(f"{folder}: the rows of the item table are missing; train again")
        return found

    checkpoint = all_at_once(read)
    shards = checkpoint.state.pop(_SHARDS, None)
    if shards is None or table is None:
        return checkpoint
    folder = path.parent / shards["folder"]
    rows = {name: torch.zeros_like(table.weight.detach()) for name in shards["tensors"]}
    load_shards(folder, rows, table.num_rows)
    for name, tensor in rows.items():
        group, _, key = name.partition("/")
        checkpoint.tensors.setdefault(group, {})[key] = tensor
    return checkpoint


def _fresh_folder(path: Path) -> Path:
    """A folder that is not there yet, so that the one before it stays until the file is replaced.

    Its number is above all others', so that who reads an older file never finds newer rows beside it.
    """
    number = 0
    if processes().is_main:
        endings = (folder.name.rpartition("-")[2] for folder in path.parent.glob(f"{path.stem}-shards-*"))
        number = 1 + max((int(ending) for ending in endings if ending.isdecimal()), default=-1)
    return path.parent / f"{path.stem}-shards-{int(sum_over_processes(torch.tensor(number)))}"


def _table(modules: Any) -> ShardedTable | None:
    return next((part for module in modules for part in module.modules() if isinstance(part, ShardedTable)), None)


def _rows_of_table(
    groups: Mapping[str, Mapping[str, Tensor]],
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer | None,
) -> dict[str, tuple[str, str]]:
    """`group/name` -> group and name of the tensors that have the rows of a table."""
    found = [
        (group, f"{name}.weight")
        for group, module in modules.items()
        for name, part in module.named_modules()
        if isinstance(part, ShardedTable)
    ]
    if optimizer is not None:
        parameters = [parameter for entry in optimizer.param_groups for parameter in entry["params"]]
        weights = [part.weight for m in modules.values() for part in m.modules() if isinstance(part, ShardedTable)]
        numbers = {str(i) for i, p in enumerate(parameters) if any(p is weight for weight in weights)}
        found += [
            ("optimizer", key)
            for key, tensor in groups["optimizer"].items()
            if key.partition("/")[0] in numbers and tensor.dim() > 1
        ]
    return {f"{group}/{key}": (group, key) for group, key in found}


def _replace(path: Path, groups: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    save_checkpoint(path, groups, state)
    _remove_others(path, state)


def _remove_others(path: Path, state: Mapping[str, Any]) -> None:
    """Folders of earlier checkpoints at `path`."""
    named = state[_SHARDS]["folder"] if _SHARDS in state else None
    for folder in path.parent.glob(f"{path.stem}-shards-*"):
        if folder.name != named:
            shutil.rmtree(folder, ignore_errors=True)
