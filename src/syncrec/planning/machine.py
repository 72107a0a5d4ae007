"""A machine as the plan sees it: measured by `syncrec bench`, or made from a data sheet and then not calibrated."""

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from syncrec import artifacts
from syncrec.config import Section
from syncrec.errors import ArtifactError
from syncrec.planning.laws import LAWS, Law

__all__ = ["SCHEMA_VERSION", "Agreement", "Machine", "Network", "Product", "default_place", "load_machine"]

SCHEMA_VERSION = 1


class Network(Section):
    """A link between processes: t = latency + bytes / bandwidth."""

    latency_s: float = Field(ge=0)
    bytes_per_s: float = Field(gt=0)


class Product(Section):
    """A matrix product [m, k] x [k, n] and the rate at which it ran."""

    m: int = Field(ge=1)
    k: int = Field(ge=1)
    n: int = Field(ge=1)
    flops_per_s: float = Field(gt=0)


class Agreement(Section):
    """A whole training step that was measured, beside what the laws say of it."""

    name: str
    measured_s: float = Field(gt=0)
    predicted_s: float = Field(gt=0)
    measured_bytes: float = Field(ge=0)
    predicted_bytes: float = Field(ge=0)


class Machine(Section):
    """One device and its network; `laws` says what each kind of work costs there."""

    kind: Literal["machine"] = "machine"
    schema_version: Literal[1] = 1
    name: str = Field(description="processor or GPU")
    device: Literal["cpu", "cuda", "mps"]
    precision: Literal["float32", "bfloat16"]
    threads: int = Field(ge=1)
    is_calibrated: bool
    date: str
    versions: dict[str, str] = Field(default_factory=dict)
    memory_bytes: float = Field(gt=0, description="of the device")
    base_memory_bytes: float = Field(ge=0, description="in use before a model is made")
    memory_factor: float = Field(1.0, ge=1, description="what the allocator takes, for each byte of tensors")
    bandwidth_bytes_per_s: float = Field(gt=0, description="of memory: a large copy, read and written")
    products: list[Product] = Field(default_factory=list)
    laws: dict[str, Law]
    network: Network | None = Field(None, description="between devices of one node, or processes of one machine")
    between_nodes: Network | None = Field(None, description="of one device to those of other nodes")
    devices_a_node: int = Field(1, ge=1)
    prepare_s_per_event: float | None = Field(None, gt=0)
    agreement: list[Agreement] = Field(default_factory=list)
    sources: list[str] = Field(default_factory=list, description="of figures that were not measured")

    @model_validator(mode="after")
    def _complete(self) -> "Machine":
        if missing := [name for name in LAWS if name not in self.laws]:
            raise ValueError(f"laws lacks {', '.join(missing)}")
        return self

    def link(self, processes: int) -> Network | None:
        """The slowest link that `processes` devices talk over; None where it was not measured."""
        return self.between_nodes if processes > self.devices_a_node and self.between_nodes else self.network


def default_place() -> Path:
    """Where `syncrec bench` writes and `syncrec plan` looks: `syncrec/machine.json` in the user's cache directory."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "syncrec" / "machine.json"


def load_machine(path: Path) -> Machine:
    """The machine that `syncrec bench` wrote.

    Raises:
        ArtifactError: no such file, no JSON, another version, or a value that cannot be.
    """
    values: dict[str, Any] = artifacts.read_json(path, "a machine; `syncrec bench` makes one")
    found = (values.get("kind"), values.get("schema_version"))
    if found != ("machine", SCHEMA_VERSION):
        raise ArtifactError(
            f"{path}: is {found[0]!r} of version {found[1]}, expected a machine of version {SCHEMA_VERSION}; "
            "`syncrec bench` makes one"
        )
    try:
        return Machine.model_validate_json(json.dumps(values))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}" for e in error.errors())
        raise ArtifactError(f"{path}: is no whole machine: {faults}; `syncrec bench` makes one") from None
