"""The command line: arguments in, pipeline called, text out. No logic of its own.

Exit codes: 0 done, 1 an error with one clear line, 2 wrong usage, 130 stopped by a signal after saving.
"""

import json
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from syncrec.config import PrepareConfig, config_keys, parse_settings
from syncrec.errors import ConfigError, SyncrecError

if TYPE_CHECKING:
    from syncrec.data.prepare import Source
    from syncrec.serving.recommender import Recommendation

__all__ = ["app", "main"]

app = App(
    name="syncrec",
    help="One sequential recommender for all services of a company, without any service losing by it.",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)

Answer = Literal["fused", "cross", "single"]
_PREPARE_DEFAULTS = PrepareConfig()


@app.command
def prepare(
    logs: Annotated[list[str] | None, Parameter(help="raw logs or globs with a domain column")] = None,
    /,
    *,
    out: Annotated[Path, Parameter(help="directory of the dataset to make")],
    domain: Annotated[list[str] | None, Parameter(help="NAME=FILE: a file or glob of one domain; repeatable")] = None,
    columns: Annotated[
        str | None, Parameter(help="the log's column names: user=reviewerID,item=asin,timestamp=unixReviewTime")
    ] = None,
    preset: Annotated[
        str | None,
        Parameter(
            help="a publisher's layout: amazon-2014-json, amazon-2018-json, amazon-2014-ratings-csv, "
            "amazon-2018-ratings-csv, amazon-2023, recbole"
        ),
    ] = None,
    overwrite: Annotated[bool, Parameter(help="replace an older dataset")] = False,
    settings: Annotated[PrepareConfig, Parameter(name="*")] = _PREPARE_DEFAULTS,
) -> None:
    """Make a dataset from raw logs: CSV, TSV, JSON lines, Parquet, plain or compressed."""
    from syncrec.data.prepare import prepare as prepare_dataset
    from syncrec.reports.summary import dataset_lines

    dataset = prepare_dataset(
        _sources(logs or [], domain or []),
        out,
        settings,
        columns=_pairs(columns or "", "--columns", "user=reviewerID,item=asin"),
        preset=preset,
        overwrite=overwrite,
        report=_say,
    )
    print("\n".join(dataset_lines(dataset)))


@app.command
def train(
    dataset: Annotated[Path, Parameter(help="a prepared dataset")],
    /,
    *,
    out: Annotated[Path, Parameter(help="directory of the run")],
    model: Annotated[str | None, Parameter(help="a model of `syncrec models`")] = None,
    config: Annotated[Path | None, Parameter(help="TOML file of settings; keys: `syncrec keys`")] = None,
    settings: Annotated[
        list[str] | None, Parameter(name="--set", help="section.key=value, over the file; repeatable")
    ] = None,
    resume: Annotated[bool, Parameter(help="continue from the last checkpoint")] = False,
    track: Annotated[
        list[Literal["tensorboard", "mlflow"]] | None, Parameter(help="also log there; repeatable")
    ] = None,
) -> None:
    """Train a model; stops cleanly on Ctrl-C and continues with --resume."""
    from syncrec.pipeline import train as train_model

    try:
        run = train_model(
            dataset, out, model=model, config=config, settings=settings or [], resume=resume, track=track or []
        )
    except KeyboardInterrupt:
        saved = "what was trained is saved; continue with the same command and --resume"
        raise KeyboardInterrupt(saved) from None
    if run.trained.fusion_weights is not None:
        weights = zip(run.dataset.domains, run.trained.fusion_weights, strict=True)
        print("weight of the single answer: " + ", ".join(f"{domain} {weight:g}" for domain, weight in weights))
    print(f"run: {run.path}  (best epoch {run.trained.epoch + 1})")


@app.command
def evaluate(
    run: Annotated[Path, Parameter(help="a trained run")],
    /,
    *,
    split: Annotated[Literal["test", "validation"], Parameter(help="what to predict")] = "test",
    protocol: Annotated[str, Parameter(help="full, sampled-999 or sampled-100")] = "full",
    seed: Annotated[int, Parameter(help="of the draw of negatives")] = 0,
    dataset: Annotated[Path | None, Parameter(help="the dataset, if it was moved")] = None,
    json_file: Annotated[Path | None, Parameter(name="--json", help="write the result here as well")] = None,
) -> None:
    """Rank every target in every answer; tables by domain, and which domain gains or loses."""
    from syncrec.evaluation import save_result
    from syncrec.pipeline import evaluate_popularity, open_run
    from syncrec.reports.summary import evaluation_tables

    opened = open_run(run, dataset)
    result = opened.evaluate(split, protocol, seed)
    floor = evaluate_popularity(opened.dataset, split, protocol, seed)
    for table in evaluation_tables(result, floor):
        _console().print(table.to_rich(), "")
    if json_file:
        save_result(json_file, result)
        print(f"result: {json_file}")


@app.command
def recommend(
    run: Annotated[Path, Parameter(help="a trained run")],
    /,
    *,
    domain: Annotated[str, Parameter(help="the service to recommend in")],
    user: Annotated[str | None, Parameter(help="a user of the dataset")] = None,
    history: Annotated[str | None, Parameter(help="domain:item,domain:item of an unseen user; '' for none")] = None,
    all_users: Annotated[bool, Parameter(name="--all", help="every user, into --out")] = False,
    k: Annotated[int, Parameter(name=["-k", "--top"], help="how many items")] = 10,
    answer: Annotated[Answer, Parameter(help="cross is the paper's")] = "fused",
    exclude_seen: Annotated[bool, Parameter(help="leave out items the user has had")] = False,
    dataset: Annotated[Path | None, Parameter(help="the dataset, if it was moved")] = None,
    out: Annotated[Path | None, Parameter(help="Parquet file for --all")] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="print JSON")] = False,
) -> None:
    """The best k items of a domain: for one user, for a history, or for every user."""
    _check_who(user, history, all_users, out)
    from syncrec.pipeline import open_run

    opened = open_run(run, dataset)
    recommender = opened.recommender()
    if all_users and out:
        rows = _recommend_all(recommender, opened.dataset, domain, k, answer, exclude_seen, out)
        print(f"recommendations: {out}  ({rows:,} rows)")
        return
    if user is not None:
        found = recommender.for_user(user, domain, k, answer=answer, exclude_seen=exclude_seen)
    else:
        events = _history(history or "")
        found = recommender.for_history(events, domain, k, answer=answer, exclude_seen=exclude_seen)
    _print_recommendations(found, domain, as_json=as_json)


@app.command
def demo(
    *,
    data: Annotated[Path | None, Parameter(help="a log; else $SYNCREC_DATA, a known one, or a simulated one")] = None,
    out: Annotated[Path, Parameter(help="directory for dataset and run")] = Path("syncrec-demo"),
) -> None:
    """Prepare, train, evaluate and recommend, in minutes."""
    from syncrec.demo import run_demo

    run_demo(data, out, _console())


@app.command
def doctor() -> None:
    """Versions, device, threads, and whether the installation works."""
    from syncrec.doctor import examine

    if not examine(_console()):
        raise SyncrecError("the installation does not work; see above")


@app.command
def models() -> None:
    """The models that can be trained."""
    from syncrec.models.registry import MODELS

    _print_columns((name, f"{entry.description}  [{entry.source}]") for name, entry in MODELS.items())


@app.command
def keys() -> None:
    """Every key of a configuration file, its default and its meaning."""
    _print_columns((name, repr(default), meaning) for name, default, meaning in config_keys())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code. Every foreseeable error is one line on stderr, SIGTERM like Ctrl-C."""
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        command = " ".join(["syncrec", *(error.command_chain or ())])
        return _fail(f"{_usage_fault(error)}  (see {command} --help)", 2)
    except KeyboardInterrupt as stop:
        return _fail("; ".join(["stopped", *map(str, stop.args)]), 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'the system says'}: {error.strerror or error}", 1)
    except SyncrecError as error:
        return _fail(str(error), 2 if isinstance(error, _UsageError) else 1)
    return 0


class _UsageError(SyncrecError):
    """Arguments that do not go together, or that cannot be read."""


def _usage_fault(error: CycloptsError) -> str:
    if isinstance(error.__cause__, ValidationError):
        values = {str(fault["loc"][0]): fault["input"] for fault in error.__cause__.errors() if fault["loc"]}
        try:
            parse_settings(PrepareConfig, values, "options")
        except ConfigError as fault:
            return str(fault)
    return str(error)


def _fail(message: str, code: int) -> int:
    print(f"syncrec: {' '.join(message.splitlines())}", file=sys.stderr)
    return code


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _console() -> Any:
    """Wide enough for every table; lines for a file or a pipe have no limit that depends on the terminal."""
    from rich.console import Console

    console = Console()
    return Console(width=max(80, console.width) if console.is_terminal else 140)


def _print_columns(rows: Iterable[tuple[str, ...]]) -> None:
    """Aligned columns; on a terminal the last one is wrapped, in a file or a pipe each row is one line."""
    table = list(rows)
    widths = [max(map(len, column)) for column in list(zip(*table, strict=True))[:-1]]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    for row in table:
        head = "".join(cell.ljust(width + 2) for cell, width in zip(row[:-1], widths, strict=True))
        print(textwrap.fill(row[-1], max(room, len(head) + 24), initial_indent=head, subsequent_indent=" " * len(head)))


def _pairs(text: str, option: str, example: str) -> dict[str, str]:
    """`a=b,c=d` as a dictionary."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [name for name, equals, value in pairs if not (name and equals and value)]
    if wrong:
        raise _UsageError(f"{option} takes name=value pairs, got {wrong[0]!r}; for example {option} {example}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _sources(logs: Sequence[str], domains: Sequence[str]) -> "list[Source]":
    from syncrec.data.prepare import Source

    named = []
    for entry in domains:
        name, equals, pattern = entry.partition("=")
        if not (name and equals and pattern):
            raise _UsageError(f"--domain takes NAME=FILE, got {entry!r}; for example --domain Books=books.jsonl.gz")
        named.append(Source(pattern, name))
    return [*(Source(log) for log in logs), *named]


def _check_who(user: str | None, history: str | None, all_users: bool, out: Path | None) -> None:
    given = (user is not None) + (history is not None) + all_users
    if given != 1:
        raise _UsageError(f"recommend takes exactly one of --user, --history and --all, got {given}")
    if all_users != (out is not None):
        raise _UsageError("--all and --out go together: recommend RUN --all --domain D --out recs.parquet")


def _history(text: str) -> list[tuple[str, str]]:
    events = [part.strip().partition(":") for part in text.split(",")] if text.strip() else []
    for domain, colon, item in events:
        if not (domain and colon and item):
            raise _UsageError(
                f"--history takes domain:item,domain:item in order of time, '' for none; got {domain + colon + item!r}"
            )
    return [(domain, item) for domain, _, item in events]


def _recommend_all(
    recommender: Any, dataset: Any, domain: str, k: int, answer: Answer, exclude_seen: bool, out: Path
) -> int:
    from rich.console import Console
    from rich.progress import track

    from syncrec.serving.recommender import write_recommendations

    size = 512
    batches = recommender.for_all_users(domain, k, answer=answer, exclude_seen=exclude_seen, batch_size=size)
    console = Console(stderr=True)
    shown = track(
        batches, "recommending", total=-(-dataset.num_users // size), console=console, disable=not console.is_terminal
    )
    return write_recommendations(out, dataset, domain, shown)


def _print_recommendations(found: "Sequence[Recommendation]", domain: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"rank": r.rank, "item": r.item, "score": r.score} for r in found]))
        return
    if not found:
        print(f"no item of {domain} is left to recommend")
    for entry in found:
        print(f"{entry.rank:4d}  {entry.item:24}  {entry.score:.4f}")


def entry_point() -> None:
    """What the installed command `syncrec` runs."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())


if __name__ == "__main__":
    entry_point()
