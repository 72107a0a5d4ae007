"""A domain of pure noise in a real log: the same users, items drawn at random. No domain should lose by it."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl

from syncrec.artifacts import write_bytes
from syncrec.data.timestamps import parse_times
from syncrec.errors import DataError
from syncrec.rng import numpy_generator

__all__ = ["add_noise_domain"]

_COLUMNS = ("user", "item", "domain", "timestamp")
_LAST_KEPT = 3


def add_noise_domain(
    log: Path, out: Path, *, domain: str = "noise", num_items: int = 1000, share: float = 0.5, seed: int = 0
) -> int:
    """Write the CSV log `log` with events of a new domain among those of each user; gives their number.

    A noise event has the time of the event that it is put before, and stands before the third last event of its user
    at the latest: the last two, which a leave-one-out split asks for, and the one before them stay what they were.
    The same arguments give the same bytes.

    Args:
        log: CSV with the columns user, item, domain, timestamp, users in blocks, each in time order; may be gzip.
        out: the new log; gzip if it ends in .gz.
        domain: name of the new domain.
        num_items: size of its catalogue, drawn from uniformly.
        share: noise events for each event of a user, rounded.
        seed: of the draws.

    Raises:
        DataError: the log cannot be read, has other columns, is in another order, or has such a domain.
    """
    events = _read(log)
    if domain in events["domain"]:
        raise DataError(f"{log}: has a domain {domain!r} already; choose another name")
    counts = events.group_by("user", maintain_order=True).len()["len"].to_numpy().astype(np.int64)
    rng = numpy_generator(seed, "noise")
    before, items = _draw(rng, counts, share, num_items)
    rows = events[before]
    noise = rows.with_columns(
        pl.Series("item", [f"{domain}-{item:06d}" for item in items]), pl.lit(domain).alias("domain")
    )
    order = np.argsort(np.concatenate([np.arange(len(events)) + 0.5, before]), kind="stable")
    text = pl.concat([events, noise])[order].write_csv().encode()
    write_bytes(out, gzip.compress(text, mtime=0) if out.suffix == ".gz" else text)
    return len(noise)


def _read(log: Path) -> pl.DataFrame:
    try:
        events = pl.read_csv(log, infer_schema=False)
    except FileNotFoundError:
        raise DataError(f"{log}: no such file") from None
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{log}: is no CSV: {str(error).splitlines()[0]}") from None
    if missing := [name for name in _COLUMNS if name not in events.columns]:
        raise DataError(f"{log}: has no column {', '.join(missing)}; it has {', '.join(events.columns)}")
    if events["user"].rle().struct.field("value").n_unique() != len(events["user"].rle()):
        raise DataError(f"{log}: the rows of a user must follow each other; sort the log by user and time")
    events = events.select(_COLUMNS)
    _check_times(log, events)
    return events


def _check_times(log: Path, events: pl.DataFrame) -> None:
    """See that no event is earlier than the one before it of its user: a split would take others for the last ones.

    Raises:
        DataError: one is, or has no time; with the first such row.
    """
    rows = events.with_columns(parse_times(events["timestamp"])).with_row_index("number", offset=1)
    for row in rows.filter(pl.col("time").is_null()).head(1).iter_rows(named=True):
        raise DataError(
            f"{log}: row {row['number']:,} below the header: timestamp {row['timestamp'] or ''!r} is no number or "
            "ISO-8601 date; mend it"
        )
    goes_back = (pl.col("user") == pl.col("user").shift(1)) & (pl.col("time") < pl.col("time").shift(1))
    for row in rows.filter(goes_back).head(1).iter_rows(named=True):
        raise DataError(
            f"{log}: row {row['number']:,} below the header: its time {row['timestamp']} is before that of the row "
            f"above, of the same user {row['user']!r}; sort the log by user and time"
        )


def _draw(rng: np.random.Generator, counts: np.ndarray, share: float, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """For each noise event the row that it is put before, and its item; users of `counts` events one after another."""
    room = np.maximum(counts - _LAST_KEPT + 1, 0)
    numbers = np.where(room > 0, np.round(share * counts), 0).astype(np.int64)
    users = np.repeat(np.arange(len(counts)), numbers)
    places = (rng.random(len(users)) * room[users]).astype(np.int64)
    starts = np.cumsum(counts) - counts
    return starts[users] + places, rng.integers(0, num_items, len(users))
