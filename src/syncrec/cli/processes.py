"""A command in several processes: how it is started in them, and that they speak once."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from syncrec.errors import LostProcessError, SyncrecError

if TYPE_CHECKING:
    from syncrec.parallel import Processes

__all__ = ["ProcessCount", "in_processes", "told_once"]

ProcessCount = Annotated[int | None, Parameter(validator=validators.Number(gte=1))]


def in_processes(count: int | None) -> "Processes":
    """Which of how many processes this is; without a launcher, start the same command in `count` of them and exit."""
    from syncrec.parallel import launched_as

    group = launched_as()
    if count is not None and count > 1 and not group.are_several:
        from syncrec.parallel.launcher import launch

        sys.exit(launch(count, "syncrec", sys.argv[1:]))
    return group


@contextlib.contextmanager
def told_once(group: "Processes", *when_stopped: str) -> Iterator[None]:
    """Of several processes that know the same, the main one alone tells it; of one that is lost, whoever is left.

    Raises:
        KeyboardInterrupt: a signal stopped it; says `when_stopped`.
    """
    try:
        yield
    except LostProcessError:
        raise
    except (SyncrecError, OSError):
        if group.is_main:
            raise
        sys.exit(1)
    except KeyboardInterrupt:
        if not group.is_main:
            sys.exit(130)
        raise KeyboardInterrupt(*when_stopped) from None
