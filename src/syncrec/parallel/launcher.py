"""Start a command in several processes on this machine, by torchrun's own launcher."""

import logging
import os
from collections.abc import Sequence

__all__ = ["launch"]


def launch(count: int, module: str, arguments: Sequence[str]) -> int:
    """Run `python -m module *arguments` in `count` processes that know of each other; gives the exit code.

    They speak for themselves. If one fails the launcher ends the others; a signal goes to all of them (130).
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no advice from torch to whoever reads the processes' output
    logging.disable(logging.ERROR)  # the launcher: what happened is told in one line by who knows
    options = ["--standalone", "--nproc-per-node", str(count), "-m", module, *arguments]
    try:
        run(get_args_parser().parse_args(options))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        return max(1, error.get_first_failure()[1].exitcode)
    except (SignalException, KeyboardInterrupt):
        return 130
    return 0
