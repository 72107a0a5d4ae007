"""The `prepare` stage: raw logs in, a prepared dataset out.

Files are read in streams and their ids become numbers at once; everything after that is arithmetic on memory-mapped
columns of 16 bytes an event, in chunks. What grows with the log in memory is the vocabulary, not the events.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncrec.artifacts import clear_write_errors, scratch_directory, staged_directory
from syncrec.cluster.engine import Engine
from syncrec.config import PrepareConfig
from syncrec.data.assembly import Log, Prepared, assemble, check_not_empty, drop_gaps, sort_log
from syncrec.data.checks.leakage import check_ties_by_domain
from syncrec.data.checks.rule import Check
from syncrec.data.dataset import Dataset, write_dataset
from syncrec.data.filters import FilterStep, apply_filters
from syncrec.data.formats import FIELDS, Preset, find_preset
from syncrec.data.ingest import LogReader, RawLog
from syncrec.data.rejects import BadRow, write_rejects
from syncrec.data.sources import InputFile, Source, find_files
from syncrec.data.splits import check_split_settings
from syncrec.errors import ConfigError, nearest_names

__all__ = ["Source", "prepare"]

Report = Callable[[str], None]


def prepare(
    sources: Sequence[Source],
    out: Path,
    settings: PrepareConfig,
    *,
    columns: Mapping[str, str] | None = None,
    preset: str | None = None,
    overwrite: bool = False,
    engine: Engine | None = None,
    report: Report = lambda _: None,
) -> Dataset:
    """Make the dataset `out` from raw logs; it is either whole or not there.

    Args:
        sources: files or globs, each with the domain of its events, or None if a column holds it. Events with equal
            time keep the order of files given, then of rows. Domains named here come first and in this order, those
            from a column after them, sorted.
        out: the directory to make.
        settings: filters, split and order of ties.
        columns: the file's column for each of user, item, domain, timestamp; else the preset's or the name itself.
        preset: a key of `formats.PRESETS`.
        overwrite: replace an older dataset.
        engine: whose workers do it, to the same bytes; they must see the files and the directory of `out`. None: here.
        report: is given lines about progress, filters and what was left out.

    Raises:
        ConfigError: a setting, preset or column mapping makes no sense.
        DataError: the log is missing, damaged, holds a bad row, or has too little for the filters or the split.
        ArtifactError: `out` exists, or its disk is full.
        WorkerError: a worker of `engine` died, or does not see a file.
    """
    columns = columns or {}
    _check_columns(columns)
    check_split_settings(settings, report)
    layout = find_preset(preset)
    files = find_files(sources)
    with (
        clear_write_errors(out),
        staged_directory(out, overwrite=overwrite) as stage,
        scratch_directory(out, "work") as work,
    ):
        made = _made(engine, files, (layout, columns), settings, work, report)
        if settings.bad_rows == "skip":
            write_rejects(stage, made.rejects)
        provenance = _provenance(settings, files, columns, preset)
        content = {**made.content, "settings": provenance, "rejected_rows": len(made.rejects)}
        write_dataset(stage, made.arrays, {**content, "filters": [step.content() for step in made.steps]})
    dataset = Dataset(out)
    if settings.ties == "input":
        _tell_of_ties(check_ties_by_domain(dataset), report)
    return dataset


def _tell_of_ties(ties: Check, report: Report) -> None:
    if ties.has_fired:
        report(
            f"note: where times are equal the input is sorted by domain: {ties.examples[0]}. Its order then decides "
            "which event is the target; --ties shuffle draws the order instead"
        )


def _made(
    engine: Engine | None,
    files: Sequence[InputFile],
    layout: tuple[Preset, Mapping[str, str]],
    settings: PrepareConfig,
    work: Path,
    report: Report,
) -> Prepared:
    if engine is not None:
        from syncrec.data.parted.whole import prepare_on

        return prepare_on(engine, files, layout, settings, work, report)
    log, rejects = _read_sorted(LogReader(work, *layout, settings.bad_rows), files, settings, work, report)
    log, steps = _filter(log, settings, work, report)
    arrays, content = assemble(log, settings, work)
    return Prepared(arrays, content, steps, rejects)


# Each step lets go of its input when it returns, and with it of the pages of memory-mapped columns.


def _read_sorted(
    reader: LogReader, files: Sequence[InputFile], settings: PrepareConfig, work: Path, report: Report
) -> tuple[Log, Sequence[BadRow]]:
    raw = _read(reader, files, report)
    return sort_log(raw, [file.domain for file in files if file.domain], settings, work), raw.rejects


def _filter(log: Log, settings: PrepareConfig, work: Path, report: Report) -> tuple[Log, list[FilterStep]]:
    events, steps = apply_filters(log.events, log.ids.domain_of_item, settings, work, report)
    return drop_gaps(replace(log, events=events), work, report), steps


def _read(reader: LogReader, files: Sequence[InputFile], report: Report) -> RawLog:
    for file in files:
        reader.read(file, report)
    raw = reader.close()
    check_not_empty(len(raw.events), files)
    return raw


def _provenance(
    settings: PrepareConfig, files: Sequence[InputFile], columns: Mapping[str, str], preset: str | None
) -> dict[str, Any]:
    sources = [{"file": file.path.name, "domain": file.domain} for file in files]
    return {**settings.model_dump(), "columns": dict(columns), "preset": preset, "sources": sources}


def _check_columns(columns: Mapping[str, str]) -> None:
    for name in columns:
        if name not in FIELDS:
            near = nearest_names(name, FIELDS)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"columns maps {name!r}, but the fields are {', '.join(FIELDS)}{hint}")
