"""Sections of settings, and what is said of values that are no settings: every fault at once, and what was meant."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from syncrec.errors import ConfigError, nearest_names

__all__ = ["Section", "keys_of", "parse_settings"]


class Section(BaseModel):
    """Settings that are frozen and take no unknown key: the base of every kind of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


SectionT = TypeVar("SectionT", bound=BaseModel)


def parse_settings(schema: type[SectionT], values: Mapping[str, Any], where: str) -> SectionT:
    """`values` as `schema`.

    Raises:
        ConfigError: every fault at once, each as `section.key must ..., got ...`.
    """
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        faults = "; ".join(_fault(schema, e) for e in error.errors())
        raise ConfigError(f"{faults} ({where})") from None


def keys_of(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(`section.key`, default, meaning) of every setting of `schema`."""
    for name, field in schema.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys_of(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.default, field.description or ""


def _fault(schema: type[BaseModel], error: Any) -> str:
    place = [str(p) for p in error["loc"]]
    name = ".".join(place)
    if error["type"] == "extra_forbidden":
        return f"unknown key {name!r}{_nearest_key(schema, place)}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{name + ': ' if name else ''}{message}"
    message = message.removeprefix("Input ").replace("should be", "must be")
    return f"{name} {message}, got {error['input']!r}"


def _nearest_key(schema: type[BaseModel], place: Sequence[str]) -> str:
    """What was meant: a key of the same section, else a section or a key of another one."""
    prefix = "".join(f"{part}." for part in place[:-1])
    keys = [key for key, _, _ in keys_of(schema)]
    here = [k.removeprefix(prefix) for k in keys if k.startswith(prefix)] if prefix else list(schema.model_fields)
    if near := nearest_names(place[-1], here, limit=1):
        return f"; did you mean {prefix + near[0]!r}?"
    elsewhere = {k.rpartition(".")[2]: k for k in reversed(keys)}
    if near := nearest_names(place[-1], elsewhere, limit=1):
        return f"; did you mean {elsewhere[near[0]]!r}?"
    return f"; known here: {', '.join(here)}" if here else ""
