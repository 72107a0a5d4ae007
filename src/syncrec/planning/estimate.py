"""The plan: memory, communication, time and what drives them, for a workload on a machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from syncrec.config import Config
from syncrec.planning.communication import Exchange, exchange_seconds, exchanges
from syncrec.planning.laws import seconds_by_law
from syncrec.planning.machine import Machine, Network
from syncrec.planning.memory import ITEM_PARTS, Layout, memory_parts, validation_bytes
from syncrec.planning.work import (
    PARTS,
    num_dense_parameters,
    part_of,
    query_work,
    ranking_work,
    step_work,
)
from syncrec.planning.workload import ViewShape, Workload

__all__ = ["Estimate", "LayoutEstimate", "doubled", "estimate", "step_seconds"]

_GIGA = 2**30
_RANKED = 3  # validation ranks under three fusion weights (`validation.COARSE_GRID`)
_EVENT_BYTES, _USER_BYTES, _ITEM_BYTES = 12, 3 * 8 + 20, 8 + 20  # `data/dataset.py`; ids of twelve characters
_LOG_BYTES, _SORT_BYTES = 38, 16  # a row of the log as CSV; columns that `prepare` maps


@dataclass(frozen=True)
class LayoutEstimate:
    """One device with the item table on each device, or with a share of it."""

    is_sharded: bool
    memory: dict[str, float]  # bytes by part
    fits: bool
    exchanges: list[Exchange]
    exchange_s: float | None  # None: the network was not measured
    step_s: dict[str, float]  # by part, without communication

    @property
    def memory_bytes(self) -> float:
        """In all."""
        return sum(self.memory.values())

    @property
    def whole_step_s(self) -> float:
        """A step, communication after computing."""
        return sum(self.step_s.values()) + (self.exchange_s or 0.0)


@dataclass(frozen=True)
class Estimate:
    """What `syncrec plan` prints; seconds and bytes of one device."""

    workload: Workload
    machine: Machine
    layouts: list[LayoutEstimate]
    validation_s: dict[str, float]
    validation_memory_bytes: float
    prepare_s: float | None
    disk_bytes: dict[str, float]

    @property
    def chosen(self) -> LayoutEstimate:
        """The faster layout of those that fit; if none does, the one that takes less memory."""
        fitting = [layout for layout in self.layouts if layout.fits]
        if not fitting:
            return min(self.layouts, key=lambda layout: layout.memory_bytes)
        return min(fitting, key=lambda layout: layout.whole_step_s)

    @property
    def epoch_s(self) -> float:
        """All steps of an epoch, without its validation."""
        return self.chosen.whole_step_s * self.workload.steps

    def to_json(self) -> dict[str, Any]:
        """Everything, with names of its own."""
        workload, config = self.workload, self.workload.config
        inputs = ("users", "items", "domains", "events", "processes")
        return {
            "kind": "plan",
            "schema_version": 1,
            "inputs": {name: getattr(workload, name) for name in inputs},
            "config": config.model_dump(),
            "machine": {"name": self.machine.name, "is_calibrated": self.machine.is_calibrated},
            "parameters": parameters(workload),
            "layouts": [
                {
                    "item_table": "sharded" if layout.is_sharded else "replicated",
                    "memory_bytes": layout.memory,
                    "memory_total_bytes": layout.memory_bytes,
                    "fits": layout.fits,
                    "is_chosen": layout is self.chosen,
                    "communication": [vars(exchange) for exchange in layout.exchanges],
                    "communication_s": layout.exchange_s,
                    "step_s": {"total": layout.whole_step_s, **layout.step_s},
                }
                for layout in self.layouts
            ],
            "device_memory_bytes": self.machine.memory_bytes,
            "steps_per_epoch": workload.steps,
            "epoch_s": self.epoch_s,
            "validation_s": self.validation_s,
            "validation_memory_bytes": self.validation_memory_bytes,
            "prepare_s": self.prepare_s,
            "disk_bytes": self.disk_bytes,
            "doubled": doubled(self),
            "remedies": remedies(self),
        }


def parameters(workload: Workload) -> dict[str, int]:
    """Numbers that are learned."""
    dim = workload.config.model.dim
    table = (workload.items + workload.domains + 1) * dim
    return {"item table": table, "all else": num_dense_parameters(workload.config, workload.domains)}


def step_seconds(workload: Workload, machine: Machine, shards: int = 1) -> dict[str, float]:
    """A step of one device by part (`PARTS`), without communication.

    Of a table that all devices share and whose rows are all updated, each updates its own; where rows alone are, each
    gets as many from the others as it gives. Packing goes on in the same process, so it is added, on a GPU too.
    """
    work = step_work(workload.step, workload.config, workload.items, workload.domains)
    found = dict.fromkeys(PARTS, 0.0)
    for law, seconds in seconds_by_law(work, machine.laws).items():
        found[part_of(law)] += seconds / (shards if law in ("item table, dense", "item table, whole") else 1)
    return found


def estimate(workload: Workload, machine: Machine) -> Estimate:
    """The plan."""
    layouts = [_layout(workload, machine, is_sharded=False)]
    if workload.processes > 1:
        layouts.append(_layout(workload, machine, is_sharded=True))
    prepare = machine.prepare_s_per_event
    return Estimate(
        workload,
        machine,
        layouts,
        _validation_seconds(workload, machine),
        validation_bytes(workload),
        None if prepare is None else prepare * workload.events,
        disk_bytes(workload),
    )


def _layout(workload: Workload, machine: Machine, *, is_sharded: bool) -> LayoutEstimate:
    shards = workload.processes if is_sharded else 1
    parts = memory_parts(workload, Layout(machine.device, machine.precision, shards))
    memory = {name: size * machine.memory_factor for name, size in parts.items()}
    memory["libraries"] = machine.base_memory_bytes
    told = exchanges(workload, is_sharded=is_sharded)
    link: Network | None = machine.link(workload.processes)
    seconds = None if link is None and told else sum(exchange_seconds(e, link) for e in told if link)
    step = step_seconds(workload, machine, shards)
    return LayoutEstimate(is_sharded, memory, sum(memory.values()) <= machine.memory_bytes, told, seconds, step)


def _validation_seconds(workload: Workload, machine: Machine) -> dict[str, float]:
    """One validation on each device's share of the users: every history encoded, its target ranked in its domain."""
    config, step = workload.config, workload.step
    share, users = workload.users / workload.processes, step.users
    encode = 0.0
    for view in (step.cross, step.single):
        part = 1.0 if view is step.cross else 1.0 / workload.domains  # the single view asked is that of one domain
        asked = ViewShape(view.rows * part, view.length, view.tokens * part)
        encode += sum(seconds_by_law(query_work(config, asked), machine.laws).values())
    ranks = ranking_work(share * _RANKED, workload.items / workload.domains, config.model.dim)
    return {"encoding histories": encode * share / users, "ranking": machine.laws["ranking"].seconds(ranks)}


def disk_bytes(workload: Workload) -> dict[str, float]:
    """What lies on the disk: the log as CSV, what `prepare` needs meanwhile, the dataset, a run's two checkpoints."""
    weights = sum(parameters(workload).values()) * 4.0
    dataset = _EVENT_BYTES * workload.events + _USER_BYTES * workload.users + _ITEM_BYTES * workload.items
    return {
        "log, as CSV": float(_LOG_BYTES * workload.events),
        "while preparing": float(_SORT_BYTES * workload.events),
        "dataset": float(dataset),
        "run": 3 * weights + weights,  # last: weights and two moments; best: weights
    }


def _set(section: str, **values: Any) -> Callable[[Workload], Workload]:
    def change(workload: Workload) -> Workload:
        old = getattr(workload.config, section)
        merged = type(old).model_validate({**old.model_dump(), **values})
        return replace(workload, config=workload.config.model_copy(update={section: merged}))

    return change


def _changes(config: Config, workload: Workload) -> Mapping[str, Callable[[Workload], Workload]]:
    """Each input doubled, the others as they are."""
    model, loss, training = config.model, config.loss, config.training
    found: dict[str, Callable[[Workload], Workload]] = {
        "users, and their events": lambda w: replace(w, users=2 * w.users, events=2 * w.events),
        "events of a user": lambda w: replace(w, events=2 * w.events),
        "items": lambda w: replace(w, items=2 * w.items),
        "domains": lambda w: replace(w, domains=2 * w.domains),
        "model.max_length": _set("model", max_length=2 * model.max_length),
        "model.dim": _set("model", dim=2 * model.dim),
        "model.num_layers": _set("model", num_layers=2 * model.num_layers),
        "model.num_experts": _set(
            "model", num_experts=2 * model.num_experts, num_cross_experts=2 * model.num_cross_experts
        ),
        "training.batch_size": _set("training", batch_size=2 * training.batch_size),
        "devices": lambda w: replace(w, processes=2 * w.processes),
    }
    if loss.kind != "full":
        found["loss.num_negatives"] = _set("loss", num_negatives=2 * loss.num_negatives)
    if workload.items < 4 * workload.domains:
        del found["domains"]
    return found


def doubled(plan: Estimate) -> dict[str, dict[str, float]]:
    """What each input, doubled, makes of epoch, memory (of the chosen layout) and communication: factors."""
    found = {}
    place = plan.layouts.index(plan.chosen)
    for name, change in _changes(plan.workload.config, plan.workload).items():
        workload = change(plan.workload)
        other = estimate(workload, plan.machine)
        layout = other.layouts[min(place, len(other.layouts) - 1)]
        before = sum(exchange.bytes for exchange in plan.chosen.exchanges)
        after = sum(exchange.bytes for exchange in layout.exchanges)
        found[name] = {
            "epoch": layout.whole_step_s * workload.steps / plan.epoch_s,
            "memory": layout.memory_bytes / plan.chosen.memory_bytes,
            **({"communication": after / before} if before else {}),
        }
    return found


def remedies(plan: Estimate) -> list[str]:
    """What to change where it does not fit, the largest part first; and where validation outgrows the device."""
    config, layout, room = plan.workload.config, plan.chosen, plan.machine.memory_bytes
    found = []
    if not layout.fits:
        table = sum(layout.memory[name] for name in ITEM_PARTS)
        rest = layout.memory_bytes - table
        if rest >= room:
            found.append(
                f"training.batch_size: activations and loss alone need {rest / _GIGA:,.1f} GiB; "
                f"{max(1, int(config.training.batch_size * 0.8 * room / rest))} would fit"
            )
        else:
            replicated = sum(plan.layouts[0].memory[name] for name in ITEM_PARTS)
            found.append(f"devices: {-int(-replicated // (room - rest))} or more, with the table sharded over them")
        if config.loss.kind == "full":
            found.append("loss.kind = sampled: no gradient of the whole table, moments of rows alone are written")
        found.append(f"model.dim: the table and its moments grow with it ({config.model.dim} now)")
    if plan.validation_memory_bytes > room:
        found.append(
            f"validation holds vectors of all users of a device at once, {plan.validation_memory_bytes / _GIGA:,.1f} "
            "GiB: validate on a dataset of fewer users"
        )
    return found
