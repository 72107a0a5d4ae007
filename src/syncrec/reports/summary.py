"""What the commands print about a dataset and an evaluation."""

from collections.abc import Iterator, Sequence

from syncrec.data.dataset import Dataset
from syncrec.evaluation import EvaluationResult
from syncrec.evaluation.comparison import Contestant, compare
from syncrec.reports.tables import Table, comparison_table, metrics_table

__all__ = ["community_line", "dataset_lines", "evaluation_tables"]


def dataset_lines(dataset: Dataset) -> Iterator[str]:
    """What each domain holds, a line each, and last what the dataset holds and where it is."""
    for name, counts in dataset.manifest["counts"].items():
        yield f"{name}: {counts['events']:,} events, {counts['users']:,} users, {counts['items']:,} items"
    size = f"{len(dataset.items):,} events, {dataset.num_users:,} users, {dataset.num_items:,} items"
    yield f"dataset: {dataset.path}  ({size})"


def community_line(groups: Sequence[Sequence[str]]) -> str:
    """Which domains read each other's events (`model.reads`), by name."""
    if len(groups) == 1:
        return "every domain reads the events of all domains"
    shown = [" + ".join(names) if len(names) > 1 else f"{names[0]} alone" for names in groups]
    return f"domains that read each other: {'; '.join(shown)}"


def evaluation_tables(result: EvaluationResult, floor: EvaluationResult | None = None) -> Iterator[Table]:
    """Metrics of every answer (and of `floor`, popularity), then who gains and who loses by joint training.

    The comparisons are of the cross and the fused answer with the single answer: the model's own view of a domain by
    itself (M5), which shares its embeddings and so only stands in for a model trained alone. A model with one answer
    has none.
    """
    yield metrics_table([result] if floor is None else [result, floor])
    if "single" not in result.answers or len(result.answers) < 2:
        return
    for answer in ("cross", "fused"):
        if answer in result.answers:
            yield comparison_table(compare(Contestant([result], answer), Contestant([result], "single")))
