"""The command `baseline`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from syncrec.cli.text import console

__all__ = ["baseline"]


def baseline(
    model: Annotated[str, Parameter(help="popularity, item-knn or bpr-mf")],
    dataset: Annotated[Path, Parameter(help="a prepared dataset")],
    /,
    *,
    split: Annotated[Literal["test", "validation"], Parameter(help="what to predict")] = "test",
    protocol: Annotated[
        list[str] | None, Parameter(help="full, sampled-999 or sampled-100; may be given several times [default: full]")
    ] = None,
    seed: Annotated[int, Parameter(help="of the draw of negatives")] = 0,
    refit: Annotated[
        Literal["none", "validation"],
        Parameter(help="validation: made of training and validation events, as with training.refit"),
    ] = "none",
    out: Annotated[Path | None, Parameter(help="write result files into the folder `results` of this one")] = None,
) -> None:
    """Rank with a model that needs no run: popularity, item-kNN, BPR-MF."""
    from syncrec.data.dataset import Dataset
    from syncrec.evaluation import find_protocol, result_path, save_result
    from syncrec.memory_models import check_memory_model, fit_memory_model
    from syncrec.reports.summary import evaluation_tables

    protocols = protocol or ["full"]
    for name in protocols:
        find_protocol(name)
    check_memory_model(model, split, refit)
    fitted = fit_memory_model(model, Dataset(dataset), refit)
    for name in protocols:
        result = fitted.evaluate(split, name, seed)
        for table in evaluation_tables(result):
            console().print(table.to_rich(), "")
        if out:
            place = result_path(out, split, name, seed)
            save_result(place, result)
            print(f"result: {place}")
