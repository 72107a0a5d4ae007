"""Named random streams, all derived from one seed.

Every use of chance has a name (`"dropout"`, `"order"`, `"negatives"`) and a counter (epoch or step). A stream is
a pure function of (seed, name, counters), so a run that is stopped and resumed draws what it would have drawn.
"""

import hashlib

import numpy as np

__all__ = ["derive_seed", "numpy_generator"]


def derive_seed(seed: int, name: str, *counters: int) -> int:
    """A 63-bit seed for the stream `name` at `counters`; independent streams for different arguments."""
    text = ":".join([str(seed), name, *map(str, counters)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(seed: int, name: str, *counters: int) -> np.random.Generator:
    """A numpy generator for the stream `name` at `counters`."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, name, *counters)))
