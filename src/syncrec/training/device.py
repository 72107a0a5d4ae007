"""Which device trains, in which precision, on how many threads."""

import os
import sys
from pathlib import Path

import torch

from syncrec.cluster.processes import usable_cores
from syncrec.errors import ConfigError, MissingCapabilityError
from syncrec.parallel import processes

__all__ = ["choose_device", "choose_precision", "peak_memory_bytes", "use_threads"]

_STATUS = Path("/proc/self/status")


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: `name` is no device.
        MissingCapabilityError: the device is not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"training.device must be auto, cpu, cuda, cuda:N or mps, got {name!r}") from None
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(device.type, False):
        raise MissingCapabilityError(f"training.device: {name!r} is not on this machine; use auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise MissingCapabilityError(
            f"training.device: {name!r} is not on this machine, whose GPUs are 0 to {count - 1}"
        )
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of autocast; float32 means no autocast.

    `auto` is bfloat16 on a GPU that multiplies it in hardware. On a CPU it is float32 even where bfloat16 products are
    twice as fast: no two batches have the same shape, a bfloat16 kernel is compiled for each, and a step takes longer.
    """
    if name == "bfloat16" or (name == "auto" and _has_fast_bfloat16(device)):
        return torch.bfloat16
    return torch.float32


def _has_fast_bfloat16(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def use_threads(count: int) -> int:
    """Let torch use `count` CPU threads; 0: as many as cores this process may use, or as OMP_NUM_THREADS says.

    Processes that train together on this machine share its cores evenly, whatever their launcher puts into
    OMP_NUM_THREADS. Gives the number taken.
    """
    group = processes()
    wanted = "" if group.are_several else os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    told = int(wanted) if wanted.isdecimal() else 0
    taken = count or told or max(1, usable_cores() // group.num_local)
    torch.set_num_threads(taken)
    return taken


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory in use so far: torch's on a GPU, else the whole process's; 0 where that is not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if _STATUS.exists():  # what getrusage says on Linux begins with the peak of the process that started this one
        sizes = [line.split()[1] for line in _STATUS.read_text("ascii", "replace").splitlines() if line[:6] == "VmHWM:"]
        if sizes:
            return 1024 * int(sizes[0])
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
