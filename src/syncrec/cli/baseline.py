"""The command `baseline`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from syncrec.cli.text import console

if TYPE_CHECKING:
    from syncrec.evaluation import EvaluationResult

__all__ = ["baseline"]


def baseline(
    model: Annotated[str, Parameter(help="popularity, item-knn or bpr-mf")],
    dataset: Annotated[Path, Parameter(help="a prepared dataset")],
    /,
    *,
    split: Annotated[Literal["test", "validation"], Parameter(help="what to predict")] = "test",
    protocol: Annotated[
        list[str] | None,
        Parameter(help="full, full-unseen, sampled-999 or sampled-100; may be given several times [default: full]"),
    ] = None,
    seed: Annotated[int, Parameter(help="of the draw of negatives; bpr-mf is trained with seed 0")] = 0,
    refit: Annotated[
        Literal["none", "validation"],
        Parameter(help="validation: made of training and validation events, as with training.refit"),
    ] = "none",
    out: Annotated[Path | None, Parameter(help="write result files into the folder `results` of this one")] = None,
) -> None:
    """Rank with a baseline that needs no run: popularity, item-kNN, BPR-MF."""
    from syncrec.baselines import baseline_config, check_baseline_split, fit_baseline, is_baseline_result
    from syncrec.data.dataset import Dataset
    from syncrec.evaluation import find_protocol, result_path, save_result
    from syncrec.reports.summary import evaluation_tables

    protocols = list(dict.fromkeys(protocol or ["full"]))
    for name in protocols:
        find_protocol(name)
    baseline_config(model, refit)
    check_baseline_split(model, split, refit)
    data = Dataset(dataset)
    if out:
        for name in protocols:
            _check_place(
                out,
                result_path(out, split, name, seed),
                lambda found: (
                    not data.is_other_than(found.dataset_checksum, found.domains)
                    and is_baseline_result(found, model, refit)
                ),
            )
    fitted = fit_baseline(model, data, refit)
    for name in protocols:
        result = fitted.evaluate(split, name, seed)
        for table in evaluation_tables(result):
            console().print(table.to_rich(), "")
        if out:
            place = result_path(out, split, name, seed)
            save_result(place, result)
            print(f"result: {place}")


def _check_place(out: Path, place: Path, is_same: "Callable[[EvaluationResult], bool]") -> None:
    """See that nothing of another model, made otherwise or of another dataset would be lost.

    Raises:
        ArtifactError: something would, or `out` is no folder.
    """
    from syncrec.errors import ArtifactError
    from syncrec.evaluation import load_result

    if out.exists() and not out.is_dir():
        raise ArtifactError(f"{out}: is no folder; choose another --out")
    if (out / "run.json").exists():
        raise ArtifactError(f"{out}: is a trained run, whose results these are not; choose another --out")
    if place.exists():
        try:
            found = load_result(place)
        except ArtifactError as error:
            raise ArtifactError(f"{error}; remove it, or choose another --out") from None
        if not is_same(found):
            name = found.provenance.model
            raise ArtifactError(
                f"{place}: is the result of {name}, of another dataset or made otherwise; choose another --out"
            )
