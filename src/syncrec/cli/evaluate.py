"""The command `evaluate`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from syncrec.cli.places import check_json_place
from syncrec.cli.processes import ProcessCount, in_processes, told_once
from syncrec.cli.text import console, say_if_unfinished

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[Path, Parameter(help="a trained run")],
    /,
    *,
    split: Annotated[Literal["test", "validation"], Parameter(help="what to predict")] = "test",
    protocol: Annotated[str, Parameter(help="full, full-unseen, sampled-999 or sampled-100")] = "full",
    seed: Annotated[int, Parameter(help="of the draw of negatives")] = 0,
    dataset: Annotated[Path | None, Parameter(help="the dataset, if it was moved")] = None,
    json_file: Annotated[Path | None, Parameter(name="--json", help="write the result here as well")] = None,
    processes: Annotated[ProcessCount, Parameter(help="on this machine, each with a share of the queries")] = None,
) -> None:
    """Rank every target in every answer; tables by domain, and which domain gains or loses.

    On several machines: `torchrun --nnodes M --nproc-per-node N ... -m syncrec evaluate ...`.
    """
    group = in_processes(processes)
    from syncrec.baselines import fit_popularity
    from syncrec.evaluation import save_result
    from syncrec.evaluation.results import KIND
    from syncrec.parallel import process_group, together
    from syncrec.pipeline import open_run
    from syncrec.reports.summary import evaluation_tables
    from syncrec.reports.verdict import verdict_lines

    with told_once(group), process_group():
        if json_file:
            together(lambda: check_json_place(json_file, KIND))
        opened = together(lambda: open_run(run, dataset))
        result = opened.evaluate(split, protocol, seed)
        refit = opened.config.training.refit if split == "test" else "none"  # what the run's answers know
        floor = fit_popularity(opened.dataset, refit).evaluate(split, protocol, seed)
    if not group.is_main:
        return
    say_if_unfinished(opened)
    for table in evaluation_tables(result, floor):
        console().print(table.to_rich(), "")
    for line in verdict_lines(result):
        print(line)
    if json_file:
        save_result(json_file, result)
        print(f"result: {json_file}")
