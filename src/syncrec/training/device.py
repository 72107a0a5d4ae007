"""Which device trains, in which precision, on how many threads."""

import os

import torch

from syncrec.errors import ConfigError, MissingCapabilityError

__all__ = ["choose_device", "choose_precision", "has_native_bfloat16", "use_threads"]


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
    return device


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return bool(probe and probe())
    return False


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of autocast; float32 means no autocast."""
    if name == "bfloat16" or (name == "auto" and has_native_bfloat16(device)):
        return torch.bfloat16
    return torch.float32


def use_threads(count: int) -> int:
    """Let torch use `count` CPU threads; 0: as many as cores this process may use. Gives the number taken."""
    taken = count or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count or os.cpu_count() or 1
    torch.set_num_threads(taken)
    return taken
