"""Which commands there are, and how a call of one ends."""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from syncrec.cli.text import UsageError, fail
from syncrec.errors import ConfigError, SyncrecError

__all__ = ["app", "run"]

app = App(
    name="syncrec",
    help="One sequential recommender for all services of a company, built so that none has to lose by it.",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)

# Command, which with _ for - is also the name of its function or sub-application; the file of this folder it is in,
# loaded when it is used; its docstring, again, because a list of commands must not load them all.
_COMMANDS = [
    ("prepare", "prepare", "Make a dataset from raw logs: CSV, TSV, JSON lines, Parquet, plain or compressed."),
    (
        "inspect",
        "inspect",
        "What a dataset holds, and whether anything in it or in its runs leaks; exit code 1 with an error.",
    ),
    ("train", "train", "Train a model; stops cleanly on Ctrl-C and continues with --resume."),
    ("evaluate", "evaluate", "Rank every target in every answer; tables by domain, and which domain gains or loses."),
    ("baseline", "baseline", "Rank with a baseline that needs no run: popularity, item-kNN, BPR-MF."),
    ("compare", "compare", "Models over their training seeds: means, and differences to a baseline with intervals."),
    ("recommend", "recommend", "The best k items of a domain: for one user, for a history, or for every user."),
    ("report", "report", "Which service gains, which loses, from whom, and how sure that is: one HTML file."),
    (
        "explain",
        "explain",
        "What a user is recommended by every answer of a model, and which past events matter for it.",
    ),
    (
        "benchmark",
        "benchmark",
        "Tune, train and compare a grid of models, seeds and datasets; continues where it stopped.",
    ),
    ("plan", "plan", "Memory, communication and time of a training before it is run, and what drives them."),
    ("bench", "plan", "Measure in two minutes what a training costs on this machine, for `syncrec plan`."),
    (
        "simulate",
        "simulate",
        "Write a log of services with known transfer, of any size, or a log with a domain of noise added.",
    ),
    ("experiment", "experiment", "Experiments on real users: start, ramp, stop, report; off-policy estimates before."),
    ("serve", "serve", "Answer over HTTP, and store what users do; a page for people is at /."),
    ("export-events", "store", "Write the events of a store as a log that `prepare` takes."),
    ("api-key", "store", "Make a key for the service and print it; the file keeps only a hash of it."),
    ("demo", "demo", "Prepare, train, evaluate and recommend, in minutes."),
    ("doctor", "information", "Versions, device, threads, and whether the installation works."),
    ("models", "information", "The models that can be trained."),
    ("keys", "information", "Every key of a configuration file, its default and its meaning."),
]
for _name, _file, _summary in _COMMANDS:
    app.command(f"syncrec.cli.{_file}:{_name.replace('-', '_')}", name=_name, help=_summary)


def run(arguments: Sequence[str] | None) -> int:
    """Run a command, of `sys.argv` where there are no `arguments`; gives the exit code. Ctrl-C goes through."""
    try:
        _refuse_what_is_no_text(sys.argv[1:] if arguments is None else arguments)
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        command = " ".join(["syncrec", *(error.command_chain or ())])
        return fail(f"{_usage_fault(error)}  (see {command} --help)", 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return fail(f"{error.filename or 'the system says'}: {error.strerror or error}", 1)
    except SyncrecError as error:
        return fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        told = str(error).partition("\n")[0] or "no more to be had"
        remedy = "in training a smaller training.batch_size, or loss.kind = sampled"
        return fail(f"not enough memory ({told}); give the process more, or ask for less: {remedy}", 1)
    return 0


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python or torch, which is not imported for its sake, had no memory to give, on a device or the CPU."""
    is_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return is_torch or isinstance(error, MemoryError)


def _refuse_what_is_no_text(arguments: Sequence[str]) -> None:
    """Bytes that are no UTF-8 come as halves of characters, which cannot be written anywhere."""
    for word in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            told = word.encode("utf-8", "backslashreplace").decode()
            raise UsageError(f"the argument {told!r} is not UTF-8; rename what it names, or set the terminal to UTF-8")


def _usage_fault(error: CycloptsError) -> str:
    """What was wrong; of settings that pydantic refused, every fault at once."""
    from pydantic import ValidationError

    if isinstance(error.__cause__, ValidationError):
        from syncrec.config import PrepareConfig, parse_settings

        values = {str(fault["loc"][0]): fault["input"] for fault in error.__cause__.errors() if fault["loc"]}
        try:
            parse_settings(PrepareConfig, values, "options")
        except ConfigError as fault:
            return str(fault)
    return str(error)
