"""The commands `experiment start`, `ramp`, `stop`, `report` and `offline`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from syncrec.cli.places import check_json_place
from syncrec.cli.text import console, say

if TYPE_CHECKING:
    from syncrec.experimentation.lifecycle import State
    from syncrec.reports.tables import Table

__all__ = ["experiment", "offline", "ramp", "report", "start", "stop"]

experiment = App(
    name="experiment", help="Experiments on real users: start, ramp, stop, report; off-policy estimates before."
)
_File = Annotated[Path, Parameter(help="TOML file of the experiment")]
_Reason = Annotated[str, Parameter(help="kept in the history")]
_Events = Annotated[list[Path], Parameter(help="logged events, CSV or Parquet; may be given several times")]
_Json = Annotated[Path | None, Parameter(name="--json", help="write it here as well")]


@experiment.command
def start(file: _File, /, *, reason: _Reason = "") -> None:
    """Let the share of users in that the file's `ramp` says; freezes arms, salt and test."""
    from datetime import UTC, datetime

    from syncrec.experimentation.lifecycle import start_experiment

    _say_state(file, start_experiment(file, datetime.now(UTC), reason))


@experiment.command
def ramp(
    file: _File, /, *, to: Annotated[float, Parameter(help="share of all users, above that now")], reason: _Reason = ""
) -> None:
    """Let more users in; nobody who is in changes arms."""
    from datetime import UTC, datetime

    from syncrec.experimentation.lifecycle import ramp_experiment

    _say_state(file, ramp_experiment(file, to, datetime.now(UTC), reason))


@experiment.command
def stop(file: _File, /, *, reason: _Reason = "") -> None:
    """End it for good; users get the service's own answers again."""
    from datetime import UTC, datetime

    from syncrec.experimentation.lifecycle import stop_experiment

    _say_state(file, stop_experiment(file, datetime.now(UTC), reason))


@experiment.command
def report(
    file: _File,
    /,
    *,
    events: _Events,
    by_day: Annotated[bool, Parameter(help="also how the comparison stood at the end of every day")] = False,
    json_file: _Json = None,
) -> None:
    """CTR by arm and domain, lifts that hold however often one looks, guardrails, checks."""
    from syncrec import artifacts
    from syncrec.experimentation.events import read_events
    from syncrec.experimentation.lifecycle import load_experiment
    from syncrec.experimentation.report import REPORT_KIND, report_experiment
    from syncrec.experimentation.tables import alarms, looks_table, notes, report_tables

    if json_file:
        check_json_place(json_file, REPORT_KIND)
    found = report_experiment(load_experiment(file), read_events(events))
    for line in alarms(found):
        console().print(line, style="bold red", markup=False)
    for line in notes(found):
        print(line)
    _print([*report_tables(found), *([looks_table(found.looks)] if by_day else [])])
    if json_file:
        artifacts.write_json(json_file, found.content())
        say(f"report: {json_file}")


@experiment.command
def offline(
    policies: Annotated[
        list[str], Parameter(help="policy to judge: FILE or DOMAIN=FILE, as `syncrec recommend --all --out` writes it")
    ],
    /,
    *,
    events: _Events,
    json_file: _Json = None,
) -> None:
    """What a policy's CTR would have been, from a log with propensities, before any user sees it."""
    from syncrec import artifacts
    from syncrec.experimentation.events import read_events
    from syncrec.experimentation.offline import REPORT_KIND, judge_policy, offline_table
    from syncrec.experimentation.policies import read_policies

    if json_file:
        check_json_place(json_file, REPORT_KIND)
    found = judge_policy(read_policies(policies), read_events(events))
    for line in found.warnings:
        console().print(f"warning: {line}", style="bold red", markup=False)
    _print([offline_table(found)])
    if json_file:
        artifacts.write_json(json_file, found.content())
        say(f"estimates: {json_file}")


def _say_state(file: Path, state: "State") -> None:
    change = state.history[-1]
    print(f"{file}: {change.state}, {change.ramp:.1%} of users, since {change.at:%Y-%m-%d %H:%M:%S} UTC")


def _print(tables: "list[Table]") -> None:
    for table in tables:
        console().print("", table.to_rich())
