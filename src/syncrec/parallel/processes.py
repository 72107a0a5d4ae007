"""Which process of how many this is, and how the group of them begins and ends.

A launcher (torchrun, Slurm's or Kubernetes' through the same variables) starts the same command several times and sets
`RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT`. Without `WORLD_SIZE` there is one process.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from syncrec.errors import ConfigError, LostProcessError, OtherProcessError, SyncrecError

__all__ = ["Processes", "all_at_once", "launched_as", "lost_process_is_clear", "process_group", "processes", "together"]

T = TypeVar("T")

_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_TIMEOUT_S = 600  # nobody may be waited for longer; a process that dies is noticed at once


@dataclass(frozen=True)
class Processes:
    """This process is number `rank` of `size`; the first one, the main process, writes files and speaks."""

    rank: int = 0
    size: int = 1
    num_local: int = 1  # of them on this machine

    @property
    def is_main(self) -> bool:
        """Whether this one writes and speaks."""
        return self.rank == 0

    @property
    def are_several(self) -> bool:
        """Whether there are others."""
        return self.size > 1


def launched_as() -> Processes:
    """What the launcher says, whether the group has begun, or is over already, or not."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:  # whatever a launcher of other processes has left behind
        return Processes()
    return Processes(int(os.environ.get("RANK", "0")), size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))


def processes() -> Processes:
    """The group this process is in; alone outside of `process_group`."""
    if not (dist.is_available() and dist.is_initialized()):
        return Processes()
    return replace(launched_as(), rank=dist.get_rank(), size=dist.get_world_size())


@contextlib.contextmanager
def process_group() -> Iterator[Processes]:
    """Join the processes that a launcher started, for the length of the block; a group that is there already is kept.

    Sums of tensors go over NCCL on a GPU, over gloo on the CPU.

    Raises:
        ConfigError: the launcher's variables are not complete.
        LostProcessError: the others do not come.
    """
    if not launched_as().are_several or (dist.is_available() and dist.is_initialized()):
        yield processes()
        return
    if missing := [name for name in _LAUNCHED if name not in os.environ]:
        raise ConfigError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set; start with "
            "`torchrun --nproc-per-node N -m syncrec ...`, or unset WORLD_SIZE"
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with lost_process_is_clear():
        dist.init_process_group(backend, timeout=timedelta(seconds=_TIMEOUT_S))
    try:
        yield processes()
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def lost_process_is_clear() -> Iterator[None]:
    """Turn what torch says when another process is gone into one line.

    Raises:
        LostProcessError: instead of torch's error.
    """
    try:
        yield
    except RuntimeError as error:
        if not _tells_of_a_lost_process(error):
            raise
        group = launched_as()
        reason = str(error).strip().splitlines()[0].split("] ", 1)[-1].split(". ")[0][:120]
        raise LostProcessError(
            f"process {group.rank} of {group.size}: another process has ended or does not answer ({reason}); "
            "start all of them again, in any number; a training goes on from its last checkpoint with --resume"
        ) from None


def _tells_of_a_lost_process(error: RuntimeError) -> bool:
    text = str(error)
    return isinstance(error, dist.DistError) or any(word in text for word in ("gloo", "NCCL", "Connection", "TCPStore"))


def together(action: Callable[[], T]) -> T:
    """What `action` gives, done by the main process first and by the others after it; if it fails in one, in all.

    Raises:
        SyncrecError: the action's own.
        OtherProcessError: it failed in another process, which tells why.
    """
    group = processes()
    if not group.are_several:
        return action()
    outcome, error = _try(action) if group.is_main else (None, None)
    _share_failure(error)
    if not group.is_main:
        outcome, error = _try(action)
    _share_failure(error)
    return outcome  # type: ignore[return-value]


def all_at_once(action: Callable[[], T]) -> T:
    """What `action` gives, done by all processes at the same time, each for itself; if it fails in one, in all.

    Raises:
        SyncrecError: the action's own.
        OtherProcessError: it failed in another process, which tells why.
    """
    if not processes().are_several:
        return action()
    outcome, error = _try(action)
    _share_failure(error)
    return outcome  # type: ignore[return-value]


def _try(action: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return action(), None
    except (SyncrecError, OSError) as error:
        return None, error


def _share_failure(error: BaseException | None) -> None:
    """Raise `error`, or tell of another's."""
    with lost_process_is_clear():
        told: list[str | None] = [None] * processes().size
        dist.all_gather_object(told, None if error is None else f"{error}")
    if error is not None:
        raise error
    for rank, text in enumerate(told):
        if text is not None:
            raise OtherProcessError(f"process {rank} of {len(told)}: {text}")
