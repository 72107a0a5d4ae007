"""A plan as text and tables for people."""

from syncrec.planning.estimate import Estimate, LayoutEstimate, doubled, parameters, remedies
from syncrec.planning.workload import SPREAD
from syncrec.reports.tables import Table

__all__ = ["assumption_lines", "duration", "head_lines", "plan_tables", "remedy_lines", "size"]

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(number: float) -> str:
    """Bytes in the largest unit that keeps a digit before the point: 1.5 GiB."""
    power = 0
    while number >= 1024 and power < len(_UNITS) - 1:
        number, power = number / 1024, power + 1
    return f"{number:.0f} {_UNITS[power]}" if number >= 100 or power == 0 else f"{number:.3g} {_UNITS[power]}"


def duration(seconds: float) -> str:
    """Seconds in the unit that fits: 3.2 ms, 14 s, 2.5 h, 12 days."""
    for limit, unit, name in ((1e-3, 1e-6, "us"), (1.0, 1e-3, "ms"), (120.0, 1.0, "s"), (7200.0, 60.0, "min")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 3600:.3g} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"


def head_lines(plan: Estimate) -> list[str]:
    """What is planned, where, and whether it fits."""
    workload, config, machine = plan.workload, plan.workload.config, plan.machine
    counts = parameters(workload)
    device = f"{workload.processes} x {machine.name}" if workload.processes > 1 else machine.name
    layout = plan.chosen
    where = "a share of the item table on each device" if layout.is_sharded else "the whole item table on each device"
    verdict = "fits" if layout.fits else "DOES NOT FIT"
    if machine.is_calibrated:
        how = f"calibrated by `syncrec bench` on {machine.date}, {machine.threads} threads, {machine.precision}"
    else:
        how = "NOT CALIBRATED: from published figures; run `syncrec bench` there for measured ones"
    return [
        f"{workload.users:,} users, {workload.items:,} items, {workload.domains} domains, {workload.events:,} events; "
        f"{config.loss.kind} loss, dim {config.model.dim}, K = {config.model.num_experts}, "
        f"T = {config.model.max_length}, {config.training.batch_size} users a step and device",
        f"device: {device}, {size(machine.memory_bytes)} each; {how}",
        f"parameters: {sum(counts.values()):,}, of which {counts['item table']:,} in the item table",
        f"memory: {verdict}: {size(layout.memory_bytes)} of {size(machine.memory_bytes)}, with {where}",
        f"time: {duration(layout.whole_step_s)} a step, {workload.steps:,} steps an epoch: {duration(plan.epoch_s)}, "
        f"and {duration(sum(plan.validation_s.values()))} for each validation",
    ]


def remedy_lines(plan: Estimate) -> list[str]:
    """What to change, if anything must be."""
    found = remedies(plan)
    return ["to change:", *(f"- {line}" for line in found)] if found else []


def plan_tables(plan: Estimate) -> list[Table]:
    """Memory, communication, time, drivers, disk."""
    tables = [_memory_table(plan), _time_table(plan), _driver_table(plan), _disk_table(plan)]
    if plan.workload.processes > 1:
        tables.insert(1, _communication_table(plan))
    return tables


def assumption_lines(plan: Estimate) -> list[str]:
    """What the figures suppose."""
    step = plan.workload.step
    lines = [
        f"assumed: log-normal history lengths (sigma {SPREAD}), every domain as large as the others, nothing hidden "
        "behind computing",
        f"a step: {step.targets:,.0f} targets; cross view {step.cross.rows:,.0f} rows of {step.cross.length} slots, "
        f"single view {step.single.rows:,.0f} of {step.single.length}; {step.anchors:,.0f} anchors",
    ]
    if plan.workload.processes > 1:
        together = plan.workload.processes * plan.workload.config.training.batch_size
        lines.append(
            f"several devices: synchronous steps, every device its own users; training.batch_size = {together:,}"
        )
    return [*lines, *(f"figures: {source}" for source in plan.machine.sources)]


def _title(layout: LayoutEstimate) -> str:
    return "table sharded" if layout.is_sharded else "table on each"


def _memory_table(plan: Estimate) -> Table:
    names = list(dict.fromkeys(name for layout in plan.layouts for name in layout.memory))
    rows = tuple(
        (name, *(size(layout.memory[name]) if name in layout.memory else "" for layout in plan.layouts))
        for name in names
    )
    totals = ("in all", *(f"{size(layout.memory_bytes)}{'' if layout.fits else ' (!)'}" for layout in plan.layouts))
    return Table("Memory of a device", ("part", *map(_title, plan.layouts)), (rows, (totals,)))


def _communication_table(plan: Estimate) -> Table:
    groups = []
    for layout in plan.layouts:
        rows = [(f"{_title(layout)}: {exchange.name}", size(exchange.bytes)) for exchange in layout.exchanges]
        time = "not measured" if layout.exchange_s is None else duration(layout.exchange_s)
        groups.append((*rows, (f"{_title(layout)}: time", time)))
    return Table("Communication of a step, sent by each device", ("part", "a step"), tuple(groups))


def _time_table(plan: Estimate) -> Table:
    whole, steps = plan.chosen.whole_step_s, plan.workload.steps
    parts = {**plan.chosen.step_s, **({"communication": plan.chosen.exchange_s} if plan.chosen.exchange_s else {})}
    rows = tuple(
        (name, duration(seconds), duration(seconds * steps), f"{seconds / whole:.0%}")
        for name, seconds in sorted(parts.items(), key=lambda item: -item[1])
        if seconds > 0
    )
    total = ("in all", duration(whole), duration(plan.epoch_s), "100%")
    after = tuple((f"validation: {name}", "", duration(seconds), "") for name, seconds in plan.validation_s.items())
    return Table("Time", ("part", "a step", "an epoch", "share"), (rows, (total,), after))


def _driver_table(plan: Estimate) -> Table:
    found = doubled(plan)
    names = list(dict.fromkeys(name for factors in found.values() for name in factors))
    rows = tuple(
        (name, *(f"x {factors[column]:.2f}" if column in factors else "" for column in names))
        for name, factors in sorted(found.items(), key=lambda item: -item[1]["epoch"])
    )
    return Table("What doubling an input costs", ("part", *names), (rows,))


def _disk_table(plan: Estimate) -> Table:
    rows = tuple((name, size(number)) for name, number in plan.disk_bytes.items())
    time = "not measured" if plan.prepare_s is None else duration(plan.prepare_s)
    return Table("Disk, and time to prepare on one machine", ("part", "figure"), (rows, (("prepare", time),)))
