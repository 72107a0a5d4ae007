"""Workloads and a machine with simple figures for the tests of planning."""

from syncrec.config import load_config
from syncrec.planning.laws import LAWS, Law
from syncrec.planning.machine import Machine, Network
from syncrec.planning.workload import Workload

LAW = Law(per_flop=1e-10, per_byte=1e-9, per_call=1e-4)


def workload(*settings, users=2000, items=9000, domains=3, events=60_000, processes=1):
    return Workload(users, items, domains, events, load_config(None, settings), processes)


def machine(**changed):
    values = {
        "name": "a machine",
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
        "is_calibrated": True,
        "date": "2026-11-24",
        "memory_bytes": 8 * 2**30,
        "base_memory_bytes": 2**28,
        "bandwidth_bytes_per_s": 1e10,
        "laws": dict.fromkeys(LAWS, LAW),
        "network": Network(latency_s=1e-4, bytes_per_s=1e9),
        "devices_a_node": 8,
        "prepare_s_per_event": 1e-6,
    }
    return Machine.model_validate({**values, **changed})
