"""The command `train`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from syncrec.cli.processes import ProcessCount, in_processes, told_once
from syncrec.cli.text import say

__all__ = ["train"]


def train(
    dataset: Annotated[Path, Parameter(help="a prepared dataset")],
    /,
    *,
    out: Annotated[Path, Parameter(help="directory of the run")],
    model: Annotated[str | None, Parameter(help="a model of `syncrec models`")] = None,
    config: Annotated[
        Path | None, Parameter(help="TOML file of settings (keys: `syncrec keys`), or the preset syncrec-paper")
    ] = None,
    settings: Annotated[
        list[str] | None, Parameter(name="--set", help="section.key=value, over the file; repeatable")
    ] = None,
    resume: Annotated[bool, Parameter(help="continue from the last checkpoint; begin where there is none")] = False,
    warm_start: Annotated[
        Path | None,
        Parameter(
            help="an earlier run to begin from, by default with its settings; items are matched by domain and id"
        ),
    ] = None,
    track: Annotated[
        list[Literal["tensorboard", "mlflow"]] | None, Parameter(help="also log there; repeatable")
    ] = None,
    processes: Annotated[ProcessCount, Parameter(help="on this machine, each with a share of every batch")] = None,
) -> None:
    """Train a model; stops cleanly on Ctrl-C and continues with --resume.

    On several machines: `torchrun --nnodes M --nproc-per-node N ... -m syncrec train ...`.
    """
    group = in_processes(processes)
    if resume and group.is_main and (not out.exists() or (out.is_dir() and not any(out.iterdir()))):
        say(f"{out}: nothing to continue there; a new training begins")
    from syncrec.parallel import process_group
    from syncrec.pipeline import train as train_model
    from syncrec.reports.summary import community_line
    from syncrec.reports.verdict import verdict_lines

    with told_once(group, "what was trained is saved; continue with the same command and --resume"), process_group():
        run = train_model(
            dataset,
            out,
            model=model,
            config=config,
            settings=settings or [],
            resume=resume,
            warm_start=warm_start,
            track=track or [],
        )
        trained, data = run.trained, run.dataset
        result = None if trained.fusion_weights is None else run.evaluate("validation")
    if not group.is_main:
        return
    if len(groups := run.directory.named_communities) > 1:
        print(community_line(groups))
    if trained.fusion_weights is not None and result is not None:
        weights = zip(data.domains, trained.fusion_weights, strict=True)
        print("weight of the single answer: " + ", ".join(f"{domain} {weight:g}" for domain, weight in weights))
        for line in verdict_lines(result):
            print(line)
    print(f"run: {run.path}  (best epoch {trained.epoch + 1})")
