"""The command `benchmark`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from syncrec.cli.counts import Count
from syncrec.cli.text import console, say

__all__ = ["benchmark"]


def benchmark(
    plan: Annotated[Path, Parameter(help="TOML file of the experiment")],
    /,
    *,
    out: Annotated[Path, Parameter(help="directory of everything it makes; the same one continues")],
    workers: Annotated[Count, Parameter(help="runs and trials at a time; with more than one, each has one thread")] = 1,
    join: Annotated[
        bool, Parameter(help="where another process is at work in OUT, of this machine or another, share its tuning")
    ] = False,
    model: Annotated[list[str] | None, Parameter(help="this row alone; may be given several times")] = None,
    seed: Annotated[list[int] | None, Parameter(help="this seed of the plan alone; likewise")] = None,
    dataset: Annotated[list[str] | None, Parameter(help="this dataset of the plan alone; likewise")] = None,
    report: Annotated[Path | None, Parameter(help="Markdown file of the results; by default OUT/results.md")] = None,
) -> None:
    """Tune, train and compare a grid of models, seeds and datasets; continues where it stopped.

    The results are those of the whole plan, as far as they are there, also where a part of it is asked for.
    """
    from rich.markup import escape

    from syncrec.experiments.findings import Findings
    from syncrec.experiments.plan import Part, load_plans
    from syncrec.experiments.runner import Experiment
    from syncrec.experiments.summary import check_place, write_summary

    part = Part(model or (), seed or (), dataset or ())
    whole, wanted = load_plans(plan, part)
    experiment = Experiment(wanted, out, workers, say, joins=join)
    markdown = report or out / "results.md"
    check_place(markdown)
    try:
        faults = experiment.run()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("what was trained is saved; continue with the same command") from None
    if not experiment.is_leader:
        print(f"{out}: every search is done; the process that was joined trains the grid")
        _tell_of(faults)
        return
    content = write_summary(Findings(whole, out), markdown)
    for title, tables in content["tables"].items():
        console().rule(escape(title))
        for table in tables:
            console().print(table.to_rich(), "")
    print(f"results: {markdown}")
    _tell_of(faults)


def _tell_of(faults: Sequence[str]) -> None:
    from syncrec.errors import SyncrecError

    if faults:
        raise SyncrecError(f"{len(faults)} runs failed: {'; '.join(faults)}")
