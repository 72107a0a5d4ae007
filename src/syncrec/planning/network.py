"""The link between processes of one machine: all-reduces of several sizes, and the line through their times.

`python -m syncrec.planning.network` is one of these processes; `measure` starts them.
"""

import json
import os
import socket
import subprocess
import sys
import time
from statistics import median

import numpy as np
import torch
import torch.distributed as dist
from scipy.optimize import nnls

from syncrec.planning.communication import all_reduce_bytes
from syncrec.planning.machine import Network

__all__ = ["fit_network", "measure"]

_SIZES = (2**12, 2**16, 2**20, 2**23, 2**25)
_TIMEOUT_S = 120


def fit_network(sizes: list[int], seconds: list[float], processes: int) -> Network:
    """Latency of a message and bandwidth from ring all-reduces: 2 (P - 1) messages and the bytes of a device."""
    messages = 2 * (processes - 1)
    rows = np.array([[messages, all_reduce_bytes(size, processes) / 1e9] for size in sizes])
    taken = np.array(seconds)
    (latency, per_gigabyte), _ = nnls(rows / taken[:, None], np.ones(len(taken)))
    return Network(latency_s=float(latency), bytes_per_s=1e9 / max(float(per_gigabyte), 1e-6))


def measure(device: str, processes: int) -> Network | None:
    """Start `processes` (one a GPU, or on the CPU over gloo) and measure; None if they do not come up."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    command = [sys.executable, "-m", "syncrec.planning.network", device]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**common, "RANK": str(rank)})
        for rank in range(processes)
    ]
    try:
        outputs = [process.communicate(timeout=_TIMEOUT_S)[0] for process in started]
    except subprocess.TimeoutExpired:
        return None
    finally:
        for process in started:
            process.kill()
    if any(process.returncode for process in started):
        return None
    return fit_network(list(_SIZES), json.loads(outputs[0].splitlines()[-1]), processes)


def main() -> None:
    """One process: reduce, measure by the wall clock, print the seconds of each size."""
    kind, rank = sys.argv[1], int(os.environ["RANK"])
    device = torch.device("cuda", rank) if kind == "cuda" else torch.device("cpu")
    dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    taken = []
    for size in _SIZES:
        numbers = torch.ones(size // 4, device=device)
        taken.append(median(_seconds(numbers) for _ in range(7)))
    dist.destroy_process_group()
    print(json.dumps(taken))


def _seconds(numbers: torch.Tensor) -> float:
    dist.barrier()
    begun = time.perf_counter()
    dist.all_reduce(numbers)
    if numbers.is_cuda:
        torch.cuda.synchronize(numbers.device)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
