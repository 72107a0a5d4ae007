"""Where a run gets its model card: what it was trained with, put together for `reports/card.py`."""

from pathlib import Path

from syncrec.checkpoint import load_state
from syncrec.data.dataset import Dataset
from syncrec.data.facts import dataset_facts
from syncrec.evaluation import load_result
from syncrec.models.registry import find_model
from syncrec.reports.card import JSON_NAME, CardSubject, make_card, results_on_card, write_card
from syncrec.runs import BEST_NAME, RunDirectory
from syncrec.training.tracking import read_log

__all__ = ["has_card", "refresh_card", "write_fresh_card"]


def has_card(run: RunDirectory) -> bool:
    """Whether there is one, damaged or not."""
    return (run.path / JSON_NAME).exists()


def write_fresh_card(run: RunDirectory, dataset: Dataset) -> None:
    """The card of a run whose training has just ended: without evaluations, which were of an unfinished model."""
    _write(run, dataset, [])


def refresh_card(run: RunDirectory, dataset: Dataset, result: Path) -> None:
    """Put the evaluation in the file `result` on the card; a run without one gets none."""
    known = results_on_card(run.path)
    if known is not None:
        names = dict.fromkeys([*known, result.name])
        _write(run, dataset, [result.parent / name for name in names])


def _write(run: RunDirectory, dataset: Dataset, results: list[Path]) -> None:
    entry, best = find_model(run.config.model.name), load_state(run.path / BEST_NAME)
    subject = CardSubject(
        name=run.path.resolve().name,
        description=entry.description,
        source=entry.source,
        config=run.config,
        versions=run.info["versions"],
        best_epoch=best["epoch"] + 1,
        fusion_weights=best.get("fusion_weights"),
        logs=[read_log(path) for path in run.logs()],
        communities=run.named_communities,
    )
    found = {path.name: load_result(path) for path in results if path.exists()}
    write_card(run.path, make_card(subject, dataset_facts(dataset), found))
