"""The commands `plan` and `bench`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from syncrec.cli.text import UsageError, console, say
from syncrec.errors import ConfigError

if TYPE_CHECKING:
    from syncrec.planning.estimate import Estimate
    from syncrec.planning.machine import Machine

__all__ = ["bench", "plan"]


def plan(
    *,
    users: Annotated[str, Parameter(help="users of the log; 50e6 is fine")],
    items: Annotated[str, Parameter(help="items of all domains")],
    domains: Annotated[str, Parameter(help="domains")],
    events: Annotated[str, Parameter(help="events of the log")],
    gpus: Annotated[str | None, Parameter(help="number and kind: 16xH200; kinds: A100, H100, H200")] = None,
    processes: Annotated[int, Parameter(help="devices that train together, of the machine measured")] = 1,
    machine: Annotated[
        Path | None, Parameter(help="what `syncrec bench` wrote; by default its file in the cache directory")
    ] = None,
    config: Annotated[Path | None, Parameter(help="TOML file of settings, or a preset")] = None,
    history: Annotated[int | None, Parameter(help="model.max_length")] = None,
    dim: Annotated[int | None, Parameter(help="model.dim")] = None,
    layers: Annotated[int | None, Parameter(help="model.num_layers")] = None,
    experts: Annotated[int | None, Parameter(help="model.num_experts")] = None,
    loss: Annotated[Literal["full", "sampled", "bce", "gbce"] | None, Parameter(help="loss.kind")] = None,
    negatives: Annotated[int | None, Parameter(help="loss.num_negatives")] = None,
    batch_size: Annotated[
        int | None,
        Parameter(help="users a step of each device; `training.batch_size` of the training is this times the devices"),
    ] = None,
    settings: Annotated[
        list[str] | None, Parameter(name="--set", help="section.key=value, over the file; repeatable")
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="print JSON")] = False,
) -> None:
    """Memory, communication and time of a training before it is run, and what drives them."""
    from syncrec.config import load_config
    from syncrec.planning.estimate import estimate
    from syncrec.planning.workload import Workload

    short = {
        "model.max_length": history,
        "model.dim": dim,
        "model.num_layers": layers,
        "model.num_experts": experts,
        "loss.kind": loss,
        "loss.num_negatives": negatives,
        "training.batch_size": batch_size,
    }
    overrides = [f"{key}={value}" for key, value in short.items() if value is not None]
    count, device = _device(gpus, processes, machine)
    numbers = {"users": users, "items": items, "domains": domains, "events": events}
    sizes = {name: _count(f"--{name}", text) for name, text in numbers.items()}
    effective = load_config(config, [*(settings or []), *overrides])
    found = estimate(Workload(**sizes, config=effective, processes=count), device)
    if as_json:
        print(json.dumps(found.to_json(), indent=1, allow_nan=False))
    else:
        _show(found)


def bench(
    *,
    out: Annotated[
        Path | None, Parameter(help="the file to write; by default syncrec/machine.json in the cache directory")
    ] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:1, mps")] = "auto",
    threads: Annotated[int, Parameter(help="CPU threads; 0: every core")] = 0,
) -> None:
    """Measure in two minutes what a training costs on this machine, for `syncrec plan`."""
    from syncrec import artifacts
    from syncrec.planning.bench import bench as measure
    from syncrec.planning.machine import default_place

    if threads < 0:
        raise UsageError(f"--threads must be at least 0, got {threads}")
    place = out or default_place()
    found = measure(device, threads, say)
    artifacts.write_json(place, found.model_dump())
    for step in found.agreement:
        print(f"step {step.name}: {step.measured_s:.3f} s measured, {step.predicted_s:.3f} s from its parts")
    print(f"machine: {place}")


def _count(option: str, text: str) -> int:
    """A whole number, also written as 5e9 or 5_000."""
    try:
        number = float(text)
    except ValueError:
        number = 0.5
    if not (number.is_integer() and 1 <= number < 1e15):
        raise ConfigError(f"{option} must be a whole number of at least 1, such as 5000 or 5e9, got {text!r}")
    return int(number)


def _device(gpus: str | None, processes: int, place: Path | None) -> "tuple[int, Machine]":
    """How many devices, and which: those of `--gpus`, measured if a measured machine has them, else published."""
    from syncrec.planning.hardware import parse_gpus, published_machine
    from syncrec.planning.machine import default_place, load_machine

    default = default_place()
    if gpus is None:
        if place is None and not default.exists():
            raise ConfigError(
                f"{default}: no measured machine; run `syncrec bench` here, or give --machine FILE or --gpus 16xH200"
            )
        return processes, load_machine(place or default)
    if processes != 1:
        raise UsageError(f"--gpus says how many devices there are, so --processes {processes} does not go with it")
    count, gpu = parse_gpus(gpus)
    if place is not None:
        return count, load_machine(place)
    measured = load_machine(default) if default.exists() else None
    is_same = measured is not None and gpu.name.split()[0] in measured.name
    return count, measured if measured is not None and is_same else published_machine(gpu)


def _show(found: "Estimate") -> None:
    from syncrec.planning.report import assumption_lines, head_lines, plan_tables, remedy_lines

    screen = console()
    screen.print(*head_lines(found), *remedy_lines(found), "", sep="\n", markup=False, highlight=False)
    for table in plan_tables(found):
        screen.print(table.to_rich(), "")
    screen.print(*assumption_lines(found), sep="\n", markup=False, highlight=False)
