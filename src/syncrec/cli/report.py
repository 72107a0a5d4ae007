"""The command `report`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from syncrec.cli.text import UsageError, say, say_if_unfinished

__all__ = ["report"]


def report(
    runs: Annotated[
        list[Path],
        Parameter(help="trained runs; the first is reported, others are its seeds or what it is measured against"),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="HTML file to write")],
    items: Annotated[Path | None, Parameter(help="CSV of item titles: item,title[,domain]")] = None,
    users: Annotated[int, Parameter(help="users to show with their histories; 0 for none")] = 4,
    retrain: Annotated[
        bool, Parameter(help="also train without each domain, in a folder beside the report; the same call continues")
    ] = False,
    dataset: Annotated[Path | None, Parameter(help="the dataset, if it was moved")] = None,
) -> None:
    """Which service gains, which loses, from whom, and how sure that is: one HTML file."""
    if users < 0:
        raise UsageError(f"--users must be at least 0, got {users}")
    _check_replaceable(out)
    from syncrec.pipeline import open_run
    from syncrec.reports.html.page import check_renderer
    from syncrec.transfer_report import ReportOptions, write_report

    check_renderer()
    retrain_in = out.with_name(f"{out.stem}-retrained") if retrain else None
    opened = [open_run(run, dataset) for run in runs]
    for one in opened:
        say_if_unfinished(one)
    try:
        content = write_report(opened, out, ReportOptions(users, items, retrain_in), say)
    except KeyboardInterrupt:
        if retrain:
            raise KeyboardInterrupt("what was trained is saved; continue with the same command") from None
        raise
    for verdict in content["verdicts"][:1]:
        print(verdict["summary"])
        print("\n".join(f"  {row['sentence']}" for row in verdict["domains"]))
    print(f"report: {out}")


def _check_replaceable(out: Path) -> None:
    """Refuse to write a page over what is none."""
    if out.is_file() and out.stat().st_size:
        with out.open("rb") as file:
            if not file.read(64).lstrip().lower().startswith((b"<!doctype html", b"<html")):
                raise UsageError(f"{out}: exists already and is no HTML page; remove it, or choose another --out")
