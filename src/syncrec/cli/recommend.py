"""The command `recommend`."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from syncrec.answers import Answer
from syncrec.cli.engine import AddressOption, EngineOption, WorkersOption, engine_of
from syncrec.cli.text import UsageError

if TYPE_CHECKING:
    from syncrec.serving.recommender import Recommendation

__all__ = ["recommend"]


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
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
) -> None:
    """The best k items of a domain: for one user, for a history, or for every user."""
    _check_who(user, history, all_users, out)
    if engine is not None and not all_users:
        raise UsageError("--engine is for --all: one user is answered at once")
    with engine_of(engine, workers, address) as several:
        if several is not None and out is not None:
            from syncrec.batch_scoring import Question, recommend_to_all

            question = Question(run, dataset, domain, k, answer, exclude_seen)
            _print_written(out, recommend_to_all(several, question, out, shown=_shown))
            return
    from syncrec.pipeline import open_run

    opened = open_run(run, dataset)
    recommender = opened.recommender()
    if all_users and out:
        rows = _recommend_all(recommender, opened.dataset, domain, k, answer, exclude_seen, out)
        _print_written(out, rows)
        return
    if user is not None:
        found = recommender.for_user(user, domain, k, answer=answer, exclude_seen=exclude_seen)
    else:
        events = _history(history or "")
        found = recommender.for_history(events, domain, k, answer=answer, exclude_seen=exclude_seen)
    _print_recommendations(found, domain, as_json=as_json)


def _check_who(user: str | None, history: str | None, all_users: bool, out: Path | None) -> None:
    given = (user is not None) + (history is not None) + all_users
    if given != 1:
        raise UsageError(f"recommend takes exactly one of --user, --history and --all, got {given}")
    if all_users != (out is not None):
        raise UsageError("--all and --out go together: recommend RUN --all --domain D --out recs.parquet")
    if out is not None and out.suffix != ".parquet":
        raise UsageError(f"--out is a Parquet file, got {out}; give a name in .parquet")


def _history(text: str) -> list[tuple[str, str]]:
    events = [part.strip().partition(":") for part in text.split(",")] if text.strip() else []
    for domain, colon, item in events:
        if not (domain and colon and item):
            raise UsageError(
                f"--history takes domain:item,domain:item in order of time, '' for none; got {domain + colon + item!r}"
            )
    return [(domain, item) for domain, _, item in events]


def _recommend_all(
    recommender: Any, dataset: Any, domain: str, k: int, answer: Answer, exclude_seen: bool, out: Path
) -> int:
    from syncrec.serving.recommender import BATCH_USERS, write_recommendations

    batches = recommender.for_all_users(domain, k, answer=answer, exclude_seen=exclude_seen)
    return write_recommendations(out, dataset, domain, _shown(batches, -(-dataset.num_users // BATCH_USERS)))


def _shown(parts: Iterable[Any], total: int) -> Iterable[Any]:
    """`parts` with a bar, if stderr is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(parts, "recommending", total=total, console=console, disable=not console.is_terminal)


def _print_written(out: Path, rows: int) -> None:
    print(f"recommendations: {out}  ({rows:,} rows)")


def _print_recommendations(found: "Sequence[Recommendation]", domain: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([{"rank": r.rank, "item": r.item, "score": r.score} for r in found]))
        return
    if not found:
        print(f"no item of {domain} is left to recommend")
    for entry in found:
        print(f"{entry.rank:4d}  {entry.item:24}  {entry.score:.4f}")
