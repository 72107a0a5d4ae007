"""Tensors that are shared out over processes by rows, on disk: written by all, read by any number of processes.

The format is that of `torch.distributed.checkpoint`: a folder with a file for each process and a description that is
written last.
"""

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from syncrec.parallel.processes import lost_process_is_clear, processes

__all__ = ["load_shards", "save_shards"]


def save_shards(folder: Path, parts: Mapping[str, Tensor], num_rows: int) -> None:
    """Write tensors of `num_rows` rows, of which each process gives its own; all processes together."""
    with lost_process_is_clear(), _alone_is_meant():
        save(_whole(parts, num_rows), checkpoint_id=folder, no_dist=not processes().are_several)


def load_shards(folder: Path, parts: Mapping[str, Tensor], num_rows: int) -> None:
    """Fill `parts` with the rows that this process is to have; all processes together, in any number."""
    with lost_process_is_clear(), _alone_is_meant():
        load(_whole(parts, num_rows), checkpoint_id=folder, no_dist=not processes().are_several)


@contextlib.contextmanager
def _alone_is_meant() -> Iterator[None]:
    """Without the warning that there is one process only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _whole(parts: Mapping[str, Tensor], num_rows: int) -> dict[str, Tensor]:
    """The same storage, described as parts of tensors [num_rows, dim]."""
    group = processes()
    if not group.are_several:
        return dict(parts)
    mesh = init_device_mesh(next(iter(parts.values())).device.type, (group.size,))
    return {
        name: DTensor.from_local(
            part,
            mesh,
            [Shard(0)],
            run_check=False,
            shape=torch.Size((num_rows, part.shape[1])),
            stride=(part.shape[1], 1),
        )
        for name, part in parts.items()
    }
