"""Options of commands that can run on several workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from cyclopts import Parameter

from syncrec.cli.text import UsageError
from syncrec.cluster.engine import Engine, EngineName, open_engine

__all__ = ["AddressOption", "EngineOption", "WorkersOption", "engine_of"]

EngineOption = Annotated[
    EngineName | None, Parameter(help="do it on several workers: processes of this machine, or Dask's")
]
WorkersOption = Annotated[
    int | None, Parameter(help="workers to start, by default one a core; with --address to wait for, by default one")
]
AddressOption = Annotated[
    str | None, Parameter(help="of a running Dask scheduler, tcp://HOST:PORT, or its scheduler file")
]


@contextmanager
def engine_of(engine: EngineName | None, workers: int | None, address: str | None) -> Iterator[Engine | None]:
    """The engine that the options ask for, None if they ask for none.

    Raises:
        UsageError: options without `--engine`.
        SyncrecError: as `open_engine`.
    """
    if engine is None:
        if workers is not None or address is not None:
            raise UsageError("--workers and --address need --engine processes or --engine dask")
        yield None
        return
    with open_engine(engine, workers, address) as opened:
        yield opened
