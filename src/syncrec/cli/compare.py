"""The command `compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from syncrec.cli.places import check_json_place
from syncrec.cli.text import UsageError, console

if TYPE_CHECKING:
    from syncrec.evaluation.groups import NamedResult

__all__ = ["compare"]


def compare(
    results: Annotated[
        list[str],
        Parameter(help="result files of `syncrec evaluate`; LABEL=FILE names a group, FILE:ANSWER picks an answer"),
    ],
    /,
    *,
    metric: Annotated[str, Parameter(help="of the differences: hr@k, ndcg@k (k = 5, 10, 20) or mrr")] = "ndcg@10",
    baseline: Annotated[
        str | None, Parameter(help="group the others are measured against, its label or number; by default the first")
    ] = None,
    answer: Annotated[str | None, Parameter(help="of models with several; by default fused, else the first")] = None,
    json_file: Annotated[Path | None, Parameter(name="--json", help="write the comparison here as well")] = None,
) -> None:
    """Models over their training seeds: means, and differences to a baseline with intervals."""
    from syncrec import artifacts
    from syncrec.evaluation.groups import group_results
    from syncrec.evaluation.seeds import COMPARISON_KIND, compare_groups
    from syncrec.reports.groups import group_tables

    if json_file:
        check_json_place(json_file, COMPARISON_KIND)
    named = [_named_result(text) for text in results]
    groups = group_results(named, answer)
    against = _label(baseline, list(groups.results))
    comparison = compare_groups(groups.results, against, metric, groups.answers, names=groups.names)
    for table in group_tables(comparison):
        console().print(table.to_rich(), "")
    if json_file:
        artifacts.write_json(json_file, comparison.content())
        print(f"comparison: {json_file}")


def _named_result(text: str) -> "NamedResult":
    from syncrec.evaluation import load_result
    from syncrec.evaluation.groups import NamedResult

    label, path, answer = _parts(text)
    if "" in (label, path, answer):
        raise UsageError(
            f"a result is FILE, LABEL=FILE or LABEL=FILE:ANSWER, got {text!r}; "
            "for example sasrec=run/results/test-full.json"
        )
    if Path(path).is_dir():
        raise UsageError(f"{path}: is a directory; give result files, for example {path}/results/test-full.json")
    return NamedResult(load_result(Path(path)), path, label, answer)


def _parts(text: str) -> tuple[str | None, str, str | None]:
    """Label, file and answer of `FILE`, `LABEL=FILE`, `FILE:ANSWER` or both; a file that is called so comes first."""
    label, path, answer = None, text, None
    if not Path(path).exists() and "=" in path:
        label, _, path = path.partition("=")
    if not Path(path).exists() and ":" in path:
        path, _, answer = path.rpartition(":")
    return label, path, answer


def _label(baseline: str | None, labels: Sequence[str]) -> str | None:
    """The label of the group that `baseline` names, or whose number, from 1, it is."""
    if baseline is not None and baseline not in labels and baseline.isdecimal() and 0 < int(baseline) <= len(labels):
        return labels[int(baseline) - 1]
    return baseline
