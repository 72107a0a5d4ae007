"""What can be set about the service: a TOML file with these keys at its top."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from syncrec.config import parse_settings, read_toml
from syncrec.errors import ConfigError

__all__ = ["ServeOptions", "ServiceSettings", "load_settings", "named_runs"]


class ServiceSettings(BaseModel):
    """Limits and behaviour of the service; all have defaults that suit a single machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_body_bytes: int = Field(1_000_000, ge=1_000, description="largest body of a request")
    max_k: int = Field(500, ge=1, description="most items of an answer")
    max_history: int = Field(1_000, ge=0, description="most events of a history that is sent along")
    max_listed: int = Field(10_000, ge=0, description="most items of an allow or deny list, or values of a filter")
    max_batch: int = Field(64, ge=1, description="most questions of a batch")
    max_events: int = Field(1_000, ge=1, description="most events sent at once")
    max_future_s: int = Field(86_400, ge=0, description="how far ahead of the server's clock an event may be")
    header_timeout_s: float = Field(10.0, gt=0, description="seconds a client may take to send a request's headers")
    body_timeout_s: float = Field(10.0, gt=0, description="seconds a client may take to send its body")
    stop_timeout_s: float = Field(30.0, gt=0, description="seconds that running requests get when the service stops")
    rate_per_s: float = Field(
        0.0, ge=0, description="requests a second of one key (of one address without keys); 0: any"
    )
    rate_burst: int = Field(100, ge=1, description="requests that may come at once before `rate_per_s` holds")
    group_size: int = Field(32, ge=1, description="questions that the model answers together at most")
    most_waiting: int = Field(1_024, ge=1, description="questions that may wait for the model; more are turned away")
    index_from_items: int = Field(
        300_000,
        ge=1,
        description="items of a domain from which on an index is searched instead of all items (extra `ann`)",
    )
    record_requests: bool = Field(
        True,
        description="with an experiment: keep time, number of items and status of every answer, for its guardrails",
    )
    cors_origins: tuple[str, ...] = Field((), description="origins whose pages may call the service; none: CORS is off")


class ServeOptions(BaseModel):
    """Everything a worker process needs to know; goes to it as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: dict[str, Path]
    store: str
    state: Path
    dataset: Path | None = None
    items: Path | None = None
    keys: Path | None = None
    experiment: Path | None = None
    workers: int = 1
    settings: ServiceSettings = ServiceSettings()


def load_settings(path: Path | None) -> ServiceSettings:
    """The settings of a TOML file, or the defaults.

    Raises:
        ConfigError: it is missing, no TOML, or has unknown keys or bad values, all told at once.
    """
    values = {} if path is None else read_toml(path)
    return parse_settings(ServiceSettings, values, str(path or "settings"))


def named_runs(paths: tuple[Path, ...]) -> Mapping[str, Path]:
    """Runs by the name of their directory, which is also the name of their arm.

    Raises:
        ConfigError: two have one name.
    """
    runs: dict[str, Path] = {}
    for path in paths:
        name = path.resolve().name
        if name in runs:
            raise ConfigError(
                f"runs are told apart by the names of their directories; {name!r} comes twice; rename one"
            )
        runs[name] = path.resolve()
    return runs
