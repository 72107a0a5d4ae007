"""The command line: arguments in, pipeline called, text out. No logic of its own.

Importing it loads nothing: `app` when it is first used, a command when it is called.
"""

from typing import TYPE_CHECKING, Any

from syncrec.cli.start import entry_point, main

if TYPE_CHECKING:
    from syncrec.cli.commands import app

__all__ = ["app", "entry_point", "main"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'syncrec.cli' has no attribute {name!r}")
    from syncrec.cli.commands import app

    return app
