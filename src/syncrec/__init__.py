"""One sequential recommender for all services of a company, without any service losing by it.

The package reads like the command line: `prepare`, `train`, then `run.evaluate()` and `run.recommend()`. Importing it
is cheap: each name loads what it needs when it is first used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncrec.config import Config, PrepareConfig, load_config
    from syncrec.data.dataset import Dataset
    from syncrec.data.prepare import Source
    from syncrec.errors import SyncrecError
    from syncrec.pipeline import Run, open_run, prepare, train

__all__ = [
    "Config",
    "Dataset",
    "PrepareConfig",
    "Run",
    "Source",
    "SyncrecError",
    "load_config",
    "open_run",
    "prepare",
    "train",
]

_PLACES = {
    "Config": "syncrec.config",
    "Dataset": "syncrec.data.dataset",
    "PrepareConfig": "syncrec.config",
    "Run": "syncrec.pipeline",
    "Source": "syncrec.data.prepare",
    "SyncrecError": "syncrec.errors",
    "load_config": "syncrec.config",
    "open_run": "syncrec.pipeline",
    "prepare": "syncrec.pipeline",
    "train": "syncrec.pipeline",
}


# A waiting OpenMP thread that spins takes the core which the thread it waits for may need: on two busy cores a training
# step took 6 to 20 times as long. Read when torch is loaded; a value set by the user stands.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'syncrec' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
