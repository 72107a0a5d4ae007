"""What runs first. It loads nothing of its own, so that Ctrl-C is one line also while everything else is loaded.

Exit codes: 0 done, 1 an error with one clear line, 2 wrong usage, 130 stopped by a signal after saving.
"""

import signal
import sys
from collections.abc import Sequence

from syncrec.cli.text import fail

__all__ = ["entry_point", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code. Every foreseeable error is one line on stderr, SIGTERM like Ctrl-C."""
    try:
        from syncrec.cli.commands import run

        return run(arguments)
    except KeyboardInterrupt as stop:
        return fail("; ".join(["stopped", *map(str, stop.args)]), 130)


def entry_point() -> None:
    """What the installed command `syncrec` runs."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main()
    finally:  # all is said; a signal while the interpreter ends would be a traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.exit(code)
