"""The command `inspect`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from syncrec.cli.text import console
from syncrec.errors import SyncrecError

if TYPE_CHECKING:
    from syncrec.inspection.inspect import Inspection

__all__ = ["inspect"]


def inspect(
    dataset: Annotated[Path, Parameter(help="a prepared dataset")],
    runs: Annotated[list[Path] | None, Parameter(help="runs trained on it")] = None,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", help="print JSON")] = False,
) -> None:
    """What a dataset holds, and whether anything in it or in its runs leaks; exit code 1 with an error."""
    from syncrec.inspection.inspect import inspect as inspect_dataset

    found = inspect_dataset(dataset, runs or [])
    if as_json:
        print(json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _show(found)
    if found.errors:
        names = ", ".join(check.rule.name for check in found.errors)
        raise SyncrecError(f"{dataset}: checks that found an error: {names}; the remedies are above")


def _show(found: "Inspection") -> None:
    from syncrec.reports.inspection import affinity_table, check_table, fact_lines, fact_tables, passed_line
    from syncrec.reports.summary import community_line

    screen = console()
    screen.print(f"dataset: {found.path}", markup=False, highlight=False)
    if found.facts is None:
        screen.print("the dataset is damaged, so nothing more can be computed", "", highlight=False)
    else:
        screen.print(*fact_lines(found.facts), "", sep="\n", markup=False, highlight=False)
        for table in fact_tables(found.facts):
            screen.print(table.to_rich(), "")
    if found.affinity is not None and len(found.affinity["domains"]) > 1:
        screen.print(affinity_table(found.affinity).to_rich())
        screen.print(community_line(found.affinity["communities"]), "", markup=False, highlight=False)
    parts = {
        "checks of the dataset": found.checks,
        **{f"checks of the run {path}": c for path, c in found.runs.items()},
    }
    for title, checks in parts.items():
        if any(check.has_fired for check in checks):
            screen.print(check_table(title, checks), "")
        screen.print(f"{title}: {passed_line(checks)}", "", markup=False, highlight=False)
