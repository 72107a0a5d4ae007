"""From raw files to the arrays of a dataset, on the workers of an engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from syncrec.cluster.engine import Engine
from syncrec.config import PrepareConfig
from syncrec.data.assembly import Prepared, check_not_empty, shuffle_seed
from syncrec.data.formats import Preset
from syncrec.data.parted.assembling import assemble_parts
from syncrec.data.parted.dealing import deal_and_sort, part_bounds
from syncrec.data.parted.filtering import filter_parts
from syncrec.data.parted.parts import PartedLog
from syncrec.data.parted.reading import FileRead, ReadTask, merge_ids, read_files
from syncrec.data.sources import InputFile

__all__ = ["prepare_on"]

_PART_EVENTS = 1 << 24


def prepare_on(
    engine: Engine,
    files: Sequence[InputFile],
    layout: tuple[Preset, Mapping[str, str]],
    settings: PrepareConfig,
    work: Path,
    report: Callable[[str], None],
) -> Prepared:
    """What one process would make of `files`, in their order.

    Args:
        engine: whose workers see the files and `work`.
        files: raw logs.
        layout: the publisher's, and the columns mapped.
        settings: filters, split and order of ties.
        work: an empty directory for everything on its way.
        report: is given lines about progress, filters and what was left out.

    Raises:
        DataError: as `syncrec.data.prepare.prepare`.
        WorkerError: a worker died, or does not see a file.
    """
    work = work.resolve()
    reads = _read(engine, files, layout, settings, work, report)
    ids, offsets = merge_ids(reads, [file.domain for file in files if file.domain], work)
    np.save(work / "offsets.npy", offsets)
    np.save(work / "domain_of_item.npy", ids.domain_of_item)
    num_parts = max(engine.num_workers, int(offsets[-1]) // _PART_EVENTS)
    bounds = part_bounds(offsets, num_parts, whole_buckets=settings.ties == "shuffle")
    places = [read.directory for read in reads]
    parts = deal_and_sort(engine, places, bounds, len(ids.items), shuffle_seed(settings), work)
    log, steps = filter_parts(engine, PartedLog.of(parts), settings, work, report)
    arrays, content = assemble_parts(engine, log, ids, settings, work, report)
    return Prepared(arrays, content, steps, [row for read in reads for row in read.rejects])


def _read(
    engine: Engine,
    files: Sequence[InputFile],
    layout: tuple[Preset, Mapping[str, str]],
    settings: PrepareConfig,
    work: Path,
    report: Callable[[str], None],
) -> list[FileRead]:
    tasks = [
        ReadTask(
            replace(file, path=file.path.resolve()), str(file.path), *layout, settings.bad_rows, work / f"read-{n:05d}"
        )
        for n, file in enumerate(files)
    ]
    reads = []
    for read in read_files(engine, tasks):
        reads.append(read)
        for line in read.lines:
            report(line)
    check_not_empty(sum(read.num_events for read in reads), files)
    return reads
