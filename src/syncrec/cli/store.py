"""The commands around the service: `export-events`, `api-key`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from syncrec.cli.text import need_extra, say

__all__ = ["api_key", "export_events"]


def export_events(
    store: Annotated[str, Parameter(help="database of events: sqlite:///FILE or postgresql://USER@HOST/DATABASE")],
    /,
    *,
    out: Annotated[Path, Parameter(help="CSV file to write")],
    all_kinds: Annotated[
        bool, Parameter(help="impressions and all others too, with request, arm and propensity")
    ] = False,
) -> None:
    """Write the events of a store as a log that `prepare` takes."""
    need_extra("serve", "sqlalchemy")
    from syncrec.serving.store.events import EventStore
    from syncrec.serving.store.export import export_events as export

    opened = EventStore(store, must_exist=True)
    done = export(opened, out, all_kinds=all_kinds, report=say)
    opened.close()
    print(f"log: {out}  ({done.num_written:,} events, {done.num_left_out:,} left out)")


def api_key(
    name: Annotated[str, Parameter(help="who gets it")],
    /,
    *,
    keys: Annotated[Path, Parameter(help="TOML file of keys; made if it is not there")],
    role: Annotated[list[Literal["read", "write", "admin"]], Parameter(help="what it may do; repeatable")],
) -> None:
    """Make a key for the service and print it; the file keeps only a hash of it."""
    from syncrec.serving.http.keys import add_key

    secret = add_key(keys, name, tuple(role))
    print(secret)
    say(f"added {name} ({', '.join(role)}) to {keys}; the key is shown this once, and counts from the next start on")
