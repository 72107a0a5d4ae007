"""The whole main job on one log: what `syncrec demo` and `make demo` run."""

import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from syncrec import artifacts
from syncrec.baselines import fit_popularity
from syncrec.config import Config, load_config
from syncrec.data.dataset import Dataset
from syncrec.data.simulation import KNOWN_TRANSFER, simulate_log
from syncrec.errors import ArtifactError, DataError
from syncrec.pipeline import Run, prepare, train
from syncrec.reports.summary import community_line, dataset_lines, evaluation_tables

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["DEMO_LOG", "choose_log", "demo_config", "run_demo"]

DEMO_LOG = Path("../shared/data/amazon_food_kitchen.csv.gz")
_MARK = "demo.json"
_SIMULATED = "simulated.csv"
_RECENT = 8
# Catalogues of 480 items: the full softmax is as cheap as a sample, and the rule behind `maps` takes longer to learn.
_FOR_SIMULATED = (
    "loss.kind=full",
    "model.dropout=0.1",
    "model.item_similarity=false",
    "model.temperature=0.07",
    "training.epochs=20",
    "training.weight_decay=0.01",
)


def demo_config(*, is_simulated: bool = False) -> Config:
    """The settings of the demo: those that train in minutes on two cores, for a real log or the simulated one."""
    return load_config(Path(__file__).with_name("demo.toml"), _FOR_SIMULATED if is_simulated else ())


def run_demo(data: Path | None, out: Path, console: "Console") -> Run:
    """Prepare, train, evaluate and recommend; everything it makes lies in `out`, an older demo there is replaced.

    Raises:
        ArtifactError: `out` holds something else.
        DataError: there is no such log, or it cannot be prepared.
    """
    begun = time.perf_counter()
    log, description = choose_log(data, out)
    is_simulated = log == out / _SIMULATED
    config = demo_config(is_simulated=is_simulated)
    _clear(out)
    if is_simulated:
        simulate_log(log, seed=0)
    say = partial(console.print, markup=False, highlight=False)
    say(f"log: {description}")
    console.rule("prepare")
    dataset = prepare(log, out=out / "dataset", max_history=50, report=say)
    say("\n".join(dataset_lines(dataset)))
    console.rule(f"train ({config.training.epochs} epochs at most)")
    run = train(dataset, out / "run", config=config, show_progress="lines")
    say(community_line(run.directory.named_communities))
    say(f"best epoch: {run.trained.epoch + 1}; log of every epoch: {run.path / 'log.jsonl'}")
    console.rule("evaluate: every test target against all items of its domain")
    for table in evaluation_tables(run.evaluate(), fit_popularity(dataset, run.config.training.refit).evaluate()):
        console.print(table.to_rich(), "")
    if is_simulated:
        known = ", ".join(f"{domain} {sign}" for domain, sign in KNOWN_TRANSFER.items())
        say(f"transfer from the other domains, as the log was made: {known}")
    console.rule("recommend")
    _print_recommendations(run, console, say)
    console.rule()
    _print_places(run, out, time.perf_counter() - begun, say)
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


def _print_recommendations(run: Run, console: "Console", say: Callable[[str], None]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    dataset = run.dataset
    user = _example_user(dataset)
    recent = dataset.history(user)[-_RECENT:]
    say(f"user {dataset.users[user]}, the last {len(recent)} events, oldest first:")
    for domain, item in zip(dataset.domain_of(recent), recent, strict=True):
        say(f"  {dataset.domains[domain]}: {dataset.item_id(int(item))}")
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for domain in dataset.domains:
        table.add_column(Text(domain), overflow="fold")
    found = [[entry.item for entry in run.recommend(dataset.users[user], d, 10)] for d in dataset.domains]
    for row in zip_longest(*found, fillvalue=""):
        table.add_row(*map(Text, row))
    say("")
    say("ten recommendations in each domain, best first:")
    console.print(table)


def _example_user(dataset: Dataset) -> int:
    """The first user seen in the most domains whose history is of medium length."""
    lengths = np.diff(dataset.user_offsets)
    owners = np.repeat(np.arange(dataset.num_users), lengths)
    seen = np.unique(np.stack([owners, dataset.domain_of(np.asarray(dataset.items))]), axis=1)
    num_domains = np.bincount(seen[0], minlength=dataset.num_users)
    widest = np.flatnonzero(num_domains == num_domains.max())
    return int(widest[np.argmin(np.abs(lengths[widest] - np.median(lengths)))])


def _print_places(run: Run, out: Path, seconds: float, say: Callable[[str], None]) -> None:
    dataset = run.dataset
    user = dataset.users[_example_user(dataset)]
    say(f"done in {seconds:.0f} s. Everything is in {out}:")
    say(f"  dataset  {dataset.path}\n  run      {run.path}\n  results  {run.path / 'results'}")
    say(f"next: syncrec recommend {run.path} --user {user} --domain {dataset.domains[0]} -k 10")
