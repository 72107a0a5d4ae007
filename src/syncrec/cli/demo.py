"""The command `demo`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from syncrec.cli.text import console

__all__ = ["demo"]


def demo(
    *,
    data: Annotated[Path | None, Parameter(help="a log; else $SYNCREC_DATA, a known one, or a simulated one")] = None,
    out: Annotated[Path, Parameter(help="directory for dataset and run")] = Path("syncrec-demo"),
) -> None:
    """Prepare, train, evaluate and recommend, in minutes."""
    from syncrec.demo import run_demo

    run_demo(data, out, console())
