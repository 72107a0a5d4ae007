"""Several processes that work on one model: who they are, what they tell each other, and draws that they share.

Nothing here needs more than one process: alone, a sum over processes is the summand.
"""

from syncrec.parallel.collectives import (
    PendingRows,
    PendingSum,
    gather_rows,
    gather_strided,
    sum_over_processes,
)
from syncrec.parallel.draws import BatchRows, drawn_on
from syncrec.parallel.processes import (
    Processes,
    all_at_once,
    launched_as,
    lost_process_is_clear,
    process_group,
    processes,
    together,
)
from syncrec.parallel.table import ShardedTable, log_sum_over_processes, sharded_tables

__all__ = [
    "BatchRows",
    "PendingRows",
    "PendingSum",
    "Processes",
    "ShardedTable",
    "all_at_once",
    "drawn_on",
    "gather_rows",
    "gather_strided",
    "launched_as",
    "log_sum_over_processes",
    "lost_process_is_clear",
    "process_group",
    "processes",
    "sharded_tables",
    "sum_over_processes",
    "together",
]
