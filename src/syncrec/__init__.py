"""One sequential recommender for all services of a company, built so that none has to lose by it.

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


# How long a waiting OpenMP thread of torch spins. On busy cores it takes the core that the thread it waits for needs:
# with the default (300,000 turns) a step took 6 to 20 times as long there; without spinning two quiet cores are slower
# than one. A few thousand turns cost little in both cases. Read when torch is loaded; what the user sets stands.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
# Else each of several processes warns that all parameters were used, which is no matter. Errors are still told.
if os.environ.get("WORLD_SIZE", "1") != "1":
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'syncrec' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
