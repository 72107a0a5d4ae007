"""A simulated log on disk, written chunk by chunk, and beside it what its domains are worth to each other.

One CSV file, plain or compressed, or a folder of Parquet files, `part-00000.parquet` and on, a tenth of the size and
read several times faster. Memory depends on a chunk and on the texts of all items (about 50 bytes an item), not on the
number of events. The same services give the same bytes, with the same version of Polars.
"""

import gzip
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl

from syncrec.artifacts import clear_write_errors, replaced_file, staged_directory, write_json
from syncrec.data.simulated_services import Chunk, Services
from syncrec.errors import ArtifactError, ConfigError

__all__ = ["check_csv_name", "write_known_transfer", "write_services"]

_FASTEST = 1  # level of compression
_SURE = 0.9  # of a projected size, chunks differ by less than the rest
_TRANSFER_NAME = "transfer.json"

Shown = Callable[[Iterable[int]], Iterable[int]]


def write_services(services: Services, out: Path, *, shown: Shown = iter) -> None:
    """Write the log `out` and its known transfer; they are there whole or not at all.

    Rows are grouped by user in time order: user, item, domain, timestamp (unix seconds).

    Args:
        services: which log.
        out: a file `.csv` or `.csv.gz`, which is replaced, or a new or empty directory for Parquet files.
        shown: gives the numbers of the chunks on, and may show how far they are.

    Raises:
        ConfigError: `out` has an extension that is none of these.
        ArtifactError: `out` cannot be written, or its disk has too little room.
    """
    chunks = _Frames(services)
    with clear_write_errors(out):
        if not out.suffix:
            _write_parts(chunks, out, shown)
        else:
            check_csv_name(out, ", or none of these for a folder of Parquet files")
            _write_file(chunks, out, shown)


def check_csv_name(out: Path, remedy: str = "") -> None:
    """See that a log of CSV text will be called one, and be new; `remedy` says what else its name may be.

    Raises:
        ConfigError: `out` ends in neither .csv nor .csv.gz, or is there already.
    """
    if not out.name.endswith((".csv", ".csv.gz")):
        raise ConfigError(f"{out}: give a name in .csv or .csv.gz{remedy}")
    if out.exists():
        raise ConfigError(f"{out}: exists already, and may be somebody's log; remove it, or choose another --out")


def write_known_transfer(place: Path, known: Mapping[str, str], **facts: int) -> None:
    """Write what the others' events are worth to each domain (`domains`), and `facts` of the log, as JSON.

    `place` is the log, which gets `<name>.transfer.json` beside it (its name without .csv and .csv.gz), or a folder,
    which gets `transfer.json`.
    """
    stem = place.name.removesuffix(".gz").removesuffix(".csv")
    name = place / _TRANSFER_NAME if place.is_dir() else place.with_name(f"{stem}.{_TRANSFER_NAME}")
    write_json(name, {"domains": dict(known), **facts})


def _write_file(frames: "_Frames", out: Path, shown: Shown) -> None:
    with replaced_file(out) as place:
        with _opened(place, compressed=out.suffix == ".gz") as file:
            for number in shown(range(frames.services.num_chunks)):
                text = io.BytesIO()
                frames[number].write_csv(text, include_header=not number, quote_style="never")
                file.write(text.getbuffer())
                if not number:
                    _check_room(place, frames.services.num_chunks)
        write_known_transfer(out, frames.services.known_transfer, **frames.facts())


@contextmanager
def _opened(place: Path, *, compressed: bool) -> Iterator[IO[bytes] | gzip.GzipFile]:
    with place.open("wb") as raw:
        if not compressed:
            yield raw
            return
        with gzip.GzipFile("", "wb", compresslevel=_FASTEST, fileobj=raw, mtime=0) as file:
            yield file


def _write_parts(frames: "_Frames", out: Path, shown: Shown) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ArtifactError(f"{out}: exists already; choose another --out, or delete it first")
    num_chunks = frames.services.num_chunks
    with staged_directory(out) as stage:
        for number in shown(range(num_chunks)):
            content = io.BytesIO()
            frames[number].write_parquet(content, compression_level=_FASTEST, statistics=False)
            with (stage / f"part-{number:05d}.parquet").open("wb") as file:
                file.write(content.getbuffer())
            if not number:
                _check_room(stage / f"part-{number:05d}.parquet", num_chunks)
        write_known_transfer(stage, frames.services.known_transfer, **frames.facts())


def _check_room(first: Path, num_chunks: int) -> None:
    """Refuse a log of `num_chunks` chunks as large as the file `first` where the disk cannot hold it."""
    needed, free = int(_SURE * first.stat().st_size * (num_chunks - 1)), shutil.disk_usage(first.parent).free
    if needed > free:
        raise ArtifactError(
            f"{first.parent}: the log needs about {needed / 1e9:,.1f} GB more and the disk has {free / 1e9:,.1f}; "
            "make room, choose another --out, or ask for fewer events"
        )


class _Frames:
    """The chunks of a log as frames, with the ids that its numbers stand for."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self._domains = pl.Series("domain", list(services.known_transfer), dtype=pl.String)
        self._first_item = np.concatenate([[0], np.cumsum(services.items_of_domain)[:-1]])
        self._items = self._item_texts()

    def facts(self) -> dict[str, Any]:
        """The size of the log and its seed."""
        s = self.services
        return {"users": s.num_users, "items": s.num_items, "events": s.num_events, "seed": s.seed}

    def __getitem__(self, number: int) -> pl.DataFrame:
        """The rows of chunk `number`."""
        chunk: Chunk = self.services.chunk(number)
        first, last = int(chunk.users[0]), int(chunk.users[-1])
        users = _numbered("user", np.arange(first, last + 1), max(5, len(str(self.services.num_users - 1))))
        return pl.DataFrame(
            {
                "user": users.gather(chunk.users - first),
                "item": self._items.gather(self._first_item[chunk.domains] + chunk.items),
                "domain": self._domains.gather(chunk.domains),
                "timestamp": chunk.times,
            }
        )

    def _item_texts(self) -> pl.Series:
        sizes = self.services.items_of_domain.tolist()
        digits = max(3, len(str(max(sizes) - 1)))
        return pl.concat(
            _numbered(name, np.arange(size), digits) for name, size in zip(self._domains, sizes, strict=True)
        )


def _numbered(name: str, numbers: Any, digits: int) -> pl.Series:
    """`name-00042` for 42, with at least so many digits."""
    texts = pl.format("{}-{}", pl.lit(name), pl.col("n").cast(pl.String).str.zfill(digits))
    return pl.DataFrame({"n": numbers}).select(texts.alias("id")).to_series()
