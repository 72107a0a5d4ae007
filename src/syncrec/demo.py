"""The whole main job on one log: what `syncrec demo` and `make demo` run."""

import os
import shutil
import time
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from syncrec import artifacts
from syncrec.config import Config, load_config
from syncrec.data.dataset import Dataset
from syncrec.data.simulation import simulate_log
from syncrec.errors import ArtifactError, DataError
from syncrec.pipeline import Run, evaluate_popularity, prepare, train
from syncrec.reports.summary import evaluation_tables

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["DEMO_LOG", "choose_log", "demo_config", "run_demo"]

DEMO_LOG = Path("../shared/data/amazon_food_kitchen.csv.gz")
_MARK = "demo.json"
_SIMULATED = "simulated.csv"
_RECENT = 8


def demo_config() -> Config:
    """The settings of the demo: those that train in minutes on two cores."""
    return load_config(Path(__file__).with_name("demo.toml"))


def run_demo(data: Path | None, out: Path, console: "Console") -> Run:
    """Prepare, train, evaluate and recommend; everything it makes lies in `out`, an older demo there is replaced.

    Raises:
        ArtifactError: `out` holds something else.
        DataError: there is no such log, or it cannot be prepared.
    """
    begun = time.perf_counter()
    log, description = choose_log(data, out)
    _clear(out)
    if log == out / _SIMULATED:
        simulate_log(log, seed=0)
    console.print(f"[bold]log[/bold]: {description}", soft_wrap=True)
    console.rule("prepare")
    dataset = prepare(log, out=out / "dataset", max_history=50, report=console.print)
    _print_domains(dataset, console)
    console.rule(f"train ({demo_config().training.epochs} epochs at most)")
    run = train(dataset, out / "run", config=demo_config())
    console.print(f"best epoch: {run.trained.epoch + 1}; log of every epoch: {run.path / 'log.jsonl'}")
    console.rule("evaluate: every test target against all items of its domain")
    for table in evaluation_tables(run.evaluate(), evaluate_popularity(dataset)):
        console.print(table.to_rich())
    console.rule("recommend")
    _print_recommendations(run, console)
    console.rule()
    _print_places(run, dataset, out, time.perf_counter() - begun, console)
    return run


def choose_log(data: Path | None, out: Path) -> tuple[Path, str]:
    """The log that is given, or `$SYNCREC_DATA`, or `DEMO_LOG`, or one to simulate in `out`; and words for it.

    Raises:
        DataError: the log that is given, or in `$SYNCREC_DATA`, does not exist.
    """
    if data is None and (place := os.environ.get("SYNCREC_DATA")):
        return _existing(Path(place)), f"{place} (from $SYNCREC_DATA)"
    if data is not None:
        return _existing(data), f"{data} (as given)"
    if DEMO_LOG.exists():
        return DEMO_LOG, f"{DEMO_LOG} (real Amazon reviews)"
    path = out / _SIMULATED
    return path, f"{path} (SIMULATED: five services with known transfer; give your own with --data LOG)"


def _existing(log: Path) -> Path:
    if not log.exists():
        raise DataError(f"{log}: no such file; give another with --data LOG or in $SYNCREC_DATA")
    return log


def _clear(out: Path) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / _MARK).exists())):
        raise ArtifactError(f"{out}: exists and is no earlier demo; choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    artifacts.write_json(out / _MARK, {"kind": "demo"})


def _print_domains(dataset: Dataset, console: "Console") -> None:
    for name, counts in dataset.manifest["counts"].items():
        shown = ", ".join(f"{value:,} {key.replace('_', ' ')}" for key, value in counts.items())
        console.print(f"{name}: {shown}", highlight=False)


def _print_recommendations(run: Run, console: "Console") -> None:
    from rich.table import Table

    dataset = run.dataset
    user = _example_user(dataset)
    recent = [dataset.item_id(int(item)) for item in dataset.history(user)[-_RECENT:]]
    of = [dataset.domains[d] for d in dataset.domain_of(dataset.history(user)[-_RECENT:])]
    table = Table(title=f"user {dataset.users[user]}: recent history, and ten recommendations in each domain")
    columns: list[Iterable[str]] = [[f"{domain}: {item}" for domain, item in zip(of, recent, strict=True)]]
    table.add_column("recent history (oldest first)")
    for domain in dataset.domains:
        table.add_column(f"{domain}, best first")
        columns.append([entry.item for entry in run.recommend(dataset.users[user], domain, 10)])
    for row in _rows(columns):
        table.add_row(*row)
    console.print(table)


def _example_user(dataset: Dataset) -> int:
    """The first user seen in the most domains whose history is of medium length."""
    lengths = np.diff(dataset.user_offsets)
    owners = np.repeat(np.arange(dataset.num_users), lengths)
    seen = np.unique(np.stack([owners, dataset.domain_of(np.asarray(dataset.items))]), axis=1)
    num_domains = np.bincount(seen[0], minlength=dataset.num_users)
    widest = np.flatnonzero(num_domains == num_domains.max())
    return int(widest[np.argmin(np.abs(lengths[widest] - np.median(lengths)))])


def _rows(columns: list[Iterable[str]]) -> Iterable[tuple[str, ...]]:
    return zip_longest(*columns, fillvalue="")


def _print_places(run: Run, dataset: Dataset, out: Path, seconds: float, console: "Console") -> None:
    user = dataset.users[_example_user(dataset)]
    console.print(f"done in {seconds / 60:.1f} minutes. Everything is in {out}:", highlight=False)
    console.print(
        f"  dataset  {dataset.path}\n  run      {run.path}\n  results  {run.path / 'results'}", highlight=False
    )
    console.print(
        f"next: syncrec recommend {run.path} --user {user} --domain {dataset.domains[0]} -k 10", highlight=False
    )
