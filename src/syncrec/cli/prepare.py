"""The command `prepare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from syncrec.cli.engine import AddressOption, EngineOption, WorkersOption, engine_of
from syncrec.cli.text import UsageError, say
from syncrec.config import PrepareConfig

if TYPE_CHECKING:
    from syncrec.data.prepare import Source

__all__ = ["prepare"]

_PREPARE_DEFAULTS = PrepareConfig()


def prepare(
    logs: Annotated[list[str] | None, Parameter(help="raw logs or globs with a domain column")] = None,
    /,
    *,
    out: Annotated[Path, Parameter(help="directory of the dataset to make")],
    domain: Annotated[list[str] | None, Parameter(help="NAME=FILE: a file or glob of one domain; repeatable")] = None,
    columns: Annotated[
        str | None, Parameter(help="the log's column names: user=reviewerID,item=asin,timestamp=unixReviewTime")
    ] = None,
    preset: Annotated[
        str | None,
        Parameter(
            help="a publisher's layout: amazon-2014-json, amazon-2018-json, amazon-2014-ratings-csv, "
            "amazon-2018-ratings-csv, amazon-2023, recbole"
        ),
    ] = None,
    overwrite: Annotated[bool, Parameter(help="replace an older dataset")] = False,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    settings: Annotated[PrepareConfig, Parameter(name="*")] = _PREPARE_DEFAULTS,
) -> None:
    """Make a dataset from raw logs: CSV, TSV, JSON lines, Parquet, plain or compressed."""
    from syncrec.data.prepare import prepare as prepare_dataset
    from syncrec.reports.summary import dataset_lines

    sources = _sources(logs or [], domain or [])
    mapped = _pairs(columns or "", "--columns", "user=reviewerID,item=asin")
    with engine_of(engine, workers, address) as opened:
        dataset = prepare_dataset(
            sources, out, settings, columns=mapped, preset=preset, overwrite=overwrite, engine=opened, report=say
        )
    print("\n".join(dataset_lines(dataset)))


def _pairs(text: str, option: str, example: str) -> dict[str, str]:
    """`a=b,c=d` as a dictionary."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [name for name, equals, value in pairs if not (name and equals and value)]
    if wrong:
        raise UsageError(f"{option} takes name=value pairs, got {wrong[0]!r}; for example {option} {example}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _sources(logs: Sequence[str], domains: Sequence[str]) -> "list[Source]":
    from syncrec.data.prepare import Source

    named = []
    for entry in domains:
        name, equals, pattern = entry.partition("=")
        if not (name and equals and pattern):
            raise UsageError(f"--domain takes NAME=FILE, got {entry!r}; for example --domain Books=books.jsonl.gz")
        named.append(Source(pattern, name))
    return [*(Source(log) for log in logs), *named]
