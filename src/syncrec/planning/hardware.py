"""GPUs that can be planned for without having one: the vendor's published figures, and nothing calibrated.

Laws follow from peak rates by assumption: of the arithmetic peak `_ARITHMETIC` is reached and of the memory bandwidth
`_STREAMING`, and a call is a number of kernels of `_KERNEL_S` each. Work of the host (packing, ranks, preparing) is as
measured on one core of an AMD EPYC. So a plan for such a GPU is an estimate by data sheet, good for comparing layouts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from syncrec.errors import ConfigError, nearest_names
from syncrec.planning.laws import LAWS, Law
from syncrec.planning.machine import Machine, Network

__all__ = ["GPUS", "Gpu", "find_gpu", "parse_gpus", "published_machine"]

_ARITHMETIC, _STREAMING = 0.5, 0.6
_KERNEL_S = 5e-6
_NVLINK_SHARE, _LATENCY_S, _NODE_LATENCY_S = 0.7, 10e-6, 20e-6
_HALF = 0.5  # of the float32 bytes that the work counts, under bfloat16


@dataclass(frozen=True)
class Gpu:
    """Dense peaks in flops/s, memory in bytes and bytes/s, links in bytes/s and direction for each GPU."""

    name: str
    bfloat16: float
    float32: float
    memory: float
    bandwidth: float
    nvlink: float
    between_nodes: float
    source: str


GPUS: Mapping[str, Gpu] = {
    "A100": Gpu(
        "A100 80GB SXM", 312e12, 19.5e12, 80e9, 2.039e12, 300e9, 25e9,
        "NVIDIA A100 Tensor Core GPU data sheet (SXM, 80 GB); DGX A100 data sheet (200 Gb/s InfiniBand a GPU)",
    ),
    "H100": Gpu(
        "H100 SXM", 989e12, 67e12, 80e9, 3.35e12, 450e9, 50e9,
        "NVIDIA H100 Tensor Core GPU data sheet (SXM; 1,979 Tflops bfloat16 with sparsity, half of it dense); "
        "DGX H100 data sheet (400 Gb/s InfiniBand a GPU)",
    ),
    "H200": Gpu(
        "H200 SXM", 989e12, 67e12, 141e9, 4.8e12, 450e9, 50e9,
        "NVIDIA H200 Tensor Core GPU data sheet (SXM); DGX H200 data sheet (400 Gb/s InfiniBand a GPU)",
    ),
}  # fmt: skip
"""By the name that `--gpus` takes; eight to a node."""

_ON_THE_HOST = {"packing": Law(per_byte=2.1e-10, per_call=1.6e-3), "ranking": Law(per_byte=8e-11)}
_PREPARE_S = 1.3e-6
_KERNELS = {
    "slots": 60,
    "encoder trained": 45,
    "encoder read": 15,
    "gates": 30,
    "towers": 15,
    "loss full": 60,
    "loss sampled": 80,
    "loss bce": 60,
    "anchors": 50,
    "item table, whole": 40,
    "item table, dense": 40,
    "item table, rows": 80,
    "optimizer": 0.2,  # fused over tensors
    "step": 200,
}
"""Kernels of a call, counted roughly from the code; attention has ten."""


def parse_gpus(text: str) -> tuple[int, Gpu]:
    """`16xH200` as number and kind; `H200` is one.

    Raises:
        ConfigError: it is neither.
    """
    found = re.fullmatch(r"(?:(\d+)\s*[x*]\s*)?([A-Za-z]\w*)", text.strip())
    if not found or found[1] == "0":
        raise ConfigError(f"--gpus takes a number and a kind, for example 16xH200, got {text!r}")
    return int(found[1] or 1), find_gpu(found[2])


def find_gpu(name: str) -> Gpu:
    """The GPU of that name.

    Raises:
        ConfigError: there are no figures of it.
    """
    if name.upper() not in GPUS:
        near = nearest_names(name, GPUS, limit=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"--gpus knows {', '.join(GPUS)}, got {name!r}{hint}; for another machine run `syncrec bench` on it and "
            "give --machine"
        )
    return GPUS[name.upper()]


def published_machine(gpu: Gpu) -> Machine:
    """A machine with eight such GPUs a node, trained in bfloat16, from the data sheet alone."""
    per_flop, per_byte = 1 / (_ARITHMETIC * gpu.bfloat16), _HALF / (_STREAMING * gpu.bandwidth)
    laws = {
        name: Law(per_flop=per_flop, per_byte=per_byte, per_call=_KERNELS.get(name, 10) * _KERNEL_S) for name in LAWS
    }
    return Machine(
        name=gpu.name,
        device="cuda",
        precision="bfloat16",
        threads=1,
        is_calibrated=False,
        date="",
        memory_bytes=gpu.memory,
        base_memory_bytes=1e9,
        memory_factor=1.1,
        bandwidth_bytes_per_s=gpu.bandwidth,
        laws={**laws, **_ON_THE_HOST},
        network=Network(latency_s=_LATENCY_S, bytes_per_s=_NVLINK_SHARE * gpu.nvlink),
        between_nodes=Network(latency_s=_NODE_LATENCY_S, bytes_per_s=_NVLINK_SHARE * gpu.between_nodes),
        devices_a_node=8,
        prepare_s_per_event=_PREPARE_S,
        sources=[gpu.source],
    )
