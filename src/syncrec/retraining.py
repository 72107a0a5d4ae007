"""What a domain's events are worth in training: the model trained again without them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from syncrec import artifacts
from syncrec.analysis.effects import effect_content, with_corrected_verdicts
from syncrec.data.dataset import Dataset, DatasetArrays, write_dataset
from syncrec.errors import ArtifactError, DataError
from syncrec.evaluation import EvaluationResult, metric_values
from syncrec.evaluation.groups import choose_answer
from syncrec.pipeline import Run, train

__all__ = ["retrained_cells", "without_domain"]


def retrained_cells(
    run: Run, result: EvaluationResult, folder: Path, say: Callable[[str], None], metric: str = "ndcg@10"
) -> dict[str, Any]:
    """A transfer matrix by training: for every source domain a model that never met its events.

    Each is trained with the run's settings in `folder`; what is there already is kept and what was begun is continued.

    Args:
        run: what is trained again.
        result: its result on the test split, under protocol `full`.
        folder: where datasets and runs go, `without-0`, `without-1`, ... by number of the domain.
        say: is told what is being done.
        metric: what is compared.

    Returns:
        as `removal_matrices`; the target is never the source, and one answer is compared, that which is deployed.

    Raises:
        ArtifactError: `folder` holds datasets or runs that differ from these.
    """
    answer, cells, kept = choose_answer(result), [], run.directory.communities  # nothing else is to differ
    for source, name in enumerate(run.dataset.domains):
        say(f"training without {name} ({source + 1} of {run.dataset.num_domains})")
        place = folder / f"without-{source}"
        dataset = without_domain(run.dataset, source, place / "dataset")
        other = train(dataset, place / "run", config=run.config, resume=True, communities=kept, show_progress="lines")
        cells += _cells(result, other.evaluate(), answer, name, metric)
    return {"metric": metric, "split": result.split, "answers": {answer: with_corrected_verdicts(cells)}}


def without_domain(dataset: Dataset, domain: int, path: Path) -> Dataset:
    """The dataset without the events of `domain`, in `path`; users, items and the split of the rest stay.

    Raises:
        DataError: nothing would be left to train on.
        ArtifactError: `path` holds another dataset.
    """
    about = {"settings": {**dataset.manifest["settings"]}, "without": dataset.domains[domain], "of": dataset.checksum}
    if path.exists():
        found = Dataset(path)
        if {key: found.manifest.get(key) for key in about} != about:
            raise ArtifactError(f"{path}: is of another dataset or domain; choose another --out")
        return found
    is_kept = dataset.domain_of(np.asarray(dataset.items)) != domain
    before = np.concatenate([[0], np.cumsum(is_kept)]).astype(np.int64)
    ends = {
        name: before[np.asarray(getattr(dataset, name))] for name in ("user_offsets", "train_end", "validation_end")
    }
    if not np.any(ends["train_end"] > ends["user_offsets"][:-1]):
        raise DataError(f"without {dataset.domains[domain]} no training event is left, so --retrain has no meaning")
    counts = np.array(dataset.item_counts)
    counts[slice(*dataset.item_range(domain))] = 0
    arrays = DatasetArrays(
        items=np.asarray(dataset.items)[is_kept],
        timestamps=np.asarray(dataset.timestamps)[is_kept],
        item_counts=counts,
        users=list(dataset.users),
        items_of_domain=[list(table) for table in dataset.item_tables],
        domains=dataset.domains,
        **ends,
    )
    with artifacts.staged_directory(path) as stage:
        write_dataset(stage, arrays, about)
    return Dataset(path)


def _cells(
    full: EvaluationResult, without: EvaluationResult, answer: str, source: str, metric: str
) -> list[dict[str, Any]]:
    """A cell for each other domain with queries; both results hold its queries in the same order."""
    users = np.unique(full.users, return_inverse=True)[1]
    num_pairs = len(full.domains) * (len(full.domains) - 1)
    cells = []
    for number, target in enumerate(full.domains):
        ours, theirs = full.query_domains == number, without.query_domains == number
        if target == source or not ours.any():
            continue
        values = [
            metric_values(metric, result.answers[answer].ranks[mask])
            for result, mask in ((without, theirs), (full, ours))
        ]
        effect = effect_content(values[0], values[1], users[ours], num_tests=num_pairs)
        cells.append({"target": target, "source": source, "num_affected": int(ours.sum()), **effect})
    return cells
