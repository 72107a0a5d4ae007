"""What commands share to speak with their user."""

import sys
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from syncrec.errors import MissingCapabilityError, SyncrecError

if TYPE_CHECKING:
    from rich.console import Console

    from syncrec.pipeline import Run

__all__ = ["UsageError", "console", "fail", "need_extra", "print_columns", "say", "say_if_unfinished"]


class UsageError(SyncrecError):
    """Arguments that do not go together, or that cannot be read."""


def fail(message: str, code: int) -> int:
    """Print `message` as one line on stderr; gives the exit code `code` back."""
    print(f"syncrec: {' '.join(message.splitlines())}", file=sys.stderr)
    return code


def say(line: str) -> None:
    """Print what is no result: to stderr."""
    print(line, file=sys.stderr)


def say_if_unfinished(run: "Run") -> None:
    """Say that a run's training has not ended, so that its answers are those of the best epoch so far."""
    if not run.directory.is_finished():
        say(
            f"{run.path}: its training has not ended; these are the answers of the best epoch so far, "
            f"{run.trained.epoch + 1} (`syncrec train DATASET --out {run.path} --resume` goes on)"
        )


def need_extra(extra: str, *modules: str) -> None:
    """See that the packages of an optional part are installed.

    Raises:
        MissingCapabilityError: one of `modules` is not.
    """
    from importlib.util import find_spec

    if missing := [name for name in modules if find_spec(name) is None]:
        raise MissingCapabilityError(f"{missing[0]} is not installed; pip install 'syncrec[{extra}]'")


def console() -> "Console":
    """Wide enough for every table; lines for a file or a pipe have no limit that depends on the terminal."""
    from rich.console import Console

    found = Console()
    return Console(width=max(80, found.width) if found.is_terminal else 140)


def print_columns(rows: Iterable[tuple[str, ...]]) -> None:
    """Aligned columns; on a terminal the last one is wrapped, in a file or a pipe each row is one line."""
    import shutil

    table = list(rows)
    widths = [max(map(len, column)) for column in list(zip(*table, strict=True))[:-1]]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    for row in table:
        head = "".join(cell.ljust(width + 2) for cell, width in zip(row[:-1], widths, strict=True))
        print(textwrap.fill(row[-1], max(room, len(head) + 24), initial_indent=head, subsequent_indent=" " * len(head)))
