"""The command `simulate`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

__all__ = ["simulate"]

Positive = validators.Number(gte=1)


def simulate(
    *,
    out: Annotated[Path, Parameter(help="the log to write; compressed if it ends in .gz")],
    users: Annotated[int, Parameter(help="number of users", validator=Positive)] = 3000,
    events: Annotated[int, Parameter(help="events of a user on average", validator=Positive)] = 30,
    noise_into: Annotated[
        Path | None, Parameter(help="no simulated log: this one, with a domain of random items added to it")
    ] = None,
    noise_items: Annotated[int, Parameter(help="size of that domain", validator=Positive)] = 1000,
    noise_share: Annotated[
        float, Parameter(help="its events for each event of a user", validator=validators.Number(gt=0))
    ] = 0.5,
    seed: Annotated[int, Parameter(help="of the draws", validator=validators.Number(gte=0))] = 0,
) -> None:
    """Write a log of five services with known transfer, or a log with a domain of noise added."""
    from syncrec.data.noise import add_noise_domain
    from syncrec.data.simulation import simulate_log

    if noise_into is None:
        simulate_log(out, num_users=users, mean_events=events, seed=seed)
        print(f"{out}: {users:,} users of five services with known transfer")
        return
    added = add_noise_domain(noise_into, out, num_items=noise_items, share=noise_share, seed=seed)
    print(f"{out}: {noise_into} and {added:,} events of the domain 'noise'")
