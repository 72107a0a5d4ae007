"""The command `simulate`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from syncrec.cli.counts import Count
from syncrec.cli.text import UsageError

__all__ = ["simulate"]

_USERS = 3000
_EVENTS_PER_USER = 30
_LEAST_EVENTS_PER_USER = 2
_ITEMS_PER_DOMAIN = 480
_FIVE = 5
_MOST_IN_MEMORY = 10_000_000
_NOISE_ITEMS = 1000
_NOISE_SHARE = 0.5
_MOST_NOISE = 100


def simulate(
    *,
    out: Annotated[
        Path,
        Parameter(
            help="the log to write, .csv or .csv.gz; where items or domains are given also a name without extension, "
            "for a folder of Parquet files. NAME.transfer.json beside it, or transfer.json in the folder, says what is "
            "known"
        ),
    ],
    users: Annotated[
        Count | None, Parameter(help="number of users, 3000 if not given; as all numbers also 1e6")
    ] = None,
    events: Annotated[
        Count | None,
        Parameter(
            help="events of the whole log, 30 a user if not given; without items and domains about so many, since the "
            "lengths of histories are drawn, and two a user at least"
        ),
    ] = None,
    items: Annotated[
        Count | None,
        Parameter(
            help="items of all domains together; 480 a domain if not given. With them, or domains, given the log is "
            "written in chunks, of any size; without, it is books, films and music (positive transfer), calls (none) "
            "and maps (negative), made in memory"
        ),
    ] = None,
    domains: Annotated[
        Count | None,
        Parameter(
            help="D, 2 or more; 5 if not given. D // 4 of them are called negative-1, negative-2, ... and lose by the "
            "others' events, (D + 1) // 4 are called none-1, ... and neither gain nor lose, the rest are called "
            "positive-1, ... and gain from each other"
        ),
    ] = None,
    noise_into: Annotated[
        Path | None, Parameter(help="no simulated log: this one, with a domain of random items added to it")
    ] = None,
    noise_items: Annotated[Count | None, Parameter(help="size of that domain; 1000 if not given")] = None,
    noise_share: Annotated[
        float | None,
        Parameter(
            help="its events for each event of a user, up to 100; 0.5 if not given",
            validator=validators.Number(gt=0, lte=_MOST_NOISE),
        ),
    ] = None,
    seed: Annotated[int, Parameter(help="of the draws", validator=validators.Number(gte=0))] = 0,
) -> None:
    """Write a log of services with known transfer, of any size, or a log with a domain of noise added."""
    if noise_into is not None:
        sizes = {"--users": users, "--events": events, "--items": items, "--domains": domains}
        _refuse(sizes, "with --noise-into, which adds to a log that is there")
        _add_noise(noise_into, out, noise_items or _NOISE_ITEMS, noise_share or _NOISE_SHARE, seed)
        return
    _refuse({"--noise-items": noise_items, "--noise-share": noise_share}, "without --noise-into LOG")
    _simulate(out, users or _USERS, events, items, domains, seed)


def _simulate(out: Path, users: int, events: int | None, items: int | None, domains: int | None, seed: int) -> None:
    events = events or _EVENTS_PER_USER * users
    if items is None and domains is None:
        _simulate_five(out, users, events, seed)
    else:
        domains = domains or _FIVE
        _simulate_services(out, (users, items or _ITEMS_PER_DOMAIN * domains, domains, events), seed)


def _refuse(options: Mapping[str, object], case: str) -> None:
    """Refuse options that are given and have no effect in the case named.

    Raises:
        UsageError: one is.
    """
    if given := [name for name, value in options.items() if value is not None]:
        raise UsageError(f"{' and '.join(given)}: no effect {case}; leave out what does not apply")


def _add_noise(log: Path, out: Path, num_items: int, share: float, seed: int) -> None:
    from syncrec.data.noise import add_noise_domain
    from syncrec.data.simulated_files import check_csv_name

    check_csv_name(out)
    added = add_noise_domain(log, out, num_items=num_items, share=share, seed=seed)
    print(f"{out}: {log} and {added:,} events of the domain 'noise'")


def _simulate_five(out: Path, users: int, events: int, seed: int) -> None:
    from syncrec.data.simulated_files import check_csv_name, write_known_transfer
    from syncrec.data.simulation import KNOWN_TRANSFER, simulate_log

    check_csv_name(out, ", or --domains for a folder of Parquet files")
    if events < (least := _LEAST_EVENTS_PER_USER * users):
        raise UsageError(
            f"--events counts those of all users, got {events:,} for {users:,} users; give {least:,} or more"
        )
    if events > _MOST_IN_MEMORY:
        raise UsageError(
            f"the five services are made in memory, with up to {_MOST_IN_MEMORY:,} events, got {events:,}; "
            "for a larger log give --domains, for example --domains 5"
        )
    written = simulate_log(out, num_users=users, mean_events=round(events / users), seed=seed)
    write_known_transfer(out, KNOWN_TRANSFER, users=users, events=written, seed=seed)
    print(f"{out}: {written:,} events of {users:,} users of five services with known transfer")


def _simulate_services(out: Path, sizes: tuple[int, int, int, int], seed: int) -> None:
    from rich.console import Console
    from rich.progress import track

    from syncrec.data.simulated_files import write_services
    from syncrec.data.simulated_services import Services

    services, console = Services(*sizes, seed), Console(stderr=True)

    def shown(chunks: Iterable[int]) -> Iterable[int]:
        return track(chunks, "simulating", total=services.num_chunks, console=console, disable=not console.is_terminal)

    write_services(services, out, shown=shown)
    print(
        f"{out}: {services.num_events:,} events of {services.num_users:,} users on {services.num_items:,} items of "
        f"{services.num_domains:,} domains with known transfer"
    )
