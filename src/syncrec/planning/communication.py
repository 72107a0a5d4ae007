"""What devices tell each other in a step, and how long that takes on a network; nothing is hidden behind computing."""

from dataclasses import dataclass

from syncrec.planning.machine import Network
from syncrec.planning.work import num_dense_parameters, rows_touched, touched_entries
from syncrec.planning.workload import Workload

__all__ = ["Exchange", "all_reduce_bytes", "exchange_seconds", "exchanges"]

_FLOAT, _INDEX = 4, 8
_ANSWERS = 2


@dataclass(frozen=True)
class Exchange:
    """One collective operation of a step: bytes that each device sends, and messages that must follow one another."""

    name: str
    bytes: float
    messages: float


def all_reduce_bytes(size: float, processes: int) -> float:
    """What a device sends in a ring all-reduce of `size` bytes: 2 (P - 1) / P of them (Patarasuk and Yuan 2009)."""
    return 2 * (processes - 1) / processes * size


def exchanges(workload: Workload, *, is_sharded: bool) -> list[Exchange]:
    """The collective operations of a step; none for one process.

    Dense gradients are averaged by a ring. Replicated tables: their gradient likewise where it is dense, else every
    device gets the rows of all others, (P - 1) (d floats and a number) for each row. Sharded tables: ids go to the
    devices that own the rows, vectors come back, gradients return, each (P - 1) / P of the rows of the step; under the
    full softmax queries go round instead (N d floats of either answer to all others and their gradients back), since
    every device scores its own items.
    """
    count = workload.processes
    if count == 1:
        return []
    config, dim, step = workload.config, workload.config.model.dim, workload.step
    ring = 2 * (count - 1)
    dense = num_dense_parameters(config, workload.domains) * _FLOAT
    found = [Exchange("dense gradients, all-reduce", all_reduce_bytes(dense, count), ring)]
    rows = rows_touched(touched_entries(step, config, workload.domains), workload.items)
    if is_sharded:
        share = (count - 1) / count * rows
        found.append(Exchange("ids of rows, all-to-all", share * _INDEX, count - 1))
        found.append(Exchange("vectors of rows, all-to-all", share * dim * _FLOAT, count - 1))
        found.append(Exchange("gradients of rows, all-to-all", share * dim * _FLOAT, count - 1))
        if config.loss.kind == "full":
            queries = _ANSWERS * step.targets * (dim + 1) * _FLOAT
            found.append(Exchange("queries to all shards and back", 2 * (count - 1) * queries, ring))
    elif config.updates_rows(workload.items):
        found.append(Exchange("gradients of rows, all-gather", (count - 1) * rows * (dim * _FLOAT + _INDEX), count - 1))
    else:
        table = workload.items * dim * _FLOAT
        found.append(Exchange("gradient of the item table, all-reduce", all_reduce_bytes(table, count), ring))
    return found


def exchange_seconds(exchange: Exchange, network: Network) -> float:
    """Latency of its messages, and its bytes over the link."""
    return exchange.messages * network.latency_s + exchange.bytes / network.bytes_per_s
