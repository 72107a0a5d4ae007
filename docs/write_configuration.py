"""Writes docs/configuration.md from the settings themselves: `python docs/write_configuration.py`.

A test fails while the file differs from what this would write.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from syncrec.config import Config, PrepareConfig, config_keys

PLACE = Path(__file__).with_name("configuration.md")

_TYPES = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text", "null": "none"}
_LIMITS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}

_HEAD = """\
# Configuration

Written by `python docs/write_configuration.py`; do not edit by hand. `syncrec keys` prints the same keys of training.

## Training

Settings of `syncrec train` come from a TOML file (`--config`), with one table a section, and from
`--set section.key=value`, which wins:

```toml
[model]
dim = 128

[training]
epochs = 20
```

An unknown key or a bad value is refused, all faults at once. The settings in effect are written to `config.toml` in
full, in the run directory. Equations (M1) to (M13) are those of `docs/model.md`.
"""

_PREPARE_HEAD = """\
## Preparing

Settings of `syncrec prepare` are options, `min_user_interactions` being `--min-user-interactions`, and keyword
arguments of `syncrec.prepare`. They are kept in the dataset's `manifest.json`.
"""


def render() -> str:
    """The text of the file."""
    parts = [_HEAD]
    for section, field in Config.model_fields.items():
        schema = field.annotation
        assert schema is not None
        parts += [f"### `[{section}]`\n", _doc(schema), "\n".join(_table(schema, f"{section}.")) + "\n"]
    return "\n".join([*parts, _PREPARE_HEAD, "\n".join(_table(PrepareConfig, "")) + "\n"])


def _doc(schema: type[BaseModel]) -> str:
    return f"{(schema.__doc__ or '').strip()}\n"


def _table(schema: type[BaseModel], prefix: str) -> Iterator[str]:
    allowed = schema.model_json_schema()["properties"]
    yield "| key | default | allowed | meaning |"
    yield "|---|---|---|---|"
    for key, default, meaning in config_keys(schema, prefix):
        shown = "none" if default is None else str(default).lower() if isinstance(default, bool) else f"{default}"
        yield f"| `{key}` | `{shown}` | {_allowed(allowed[key.rpartition('.')[2]])} | {meaning} |"


def _allowed(field: dict[str, Any]) -> str:
    """The values of a field in words, from its JSON schema."""
    if "anyOf" in field:
        return " or ".join(_allowed(option) for option in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    limits = [f"{word} {field[name]}" for name, word in _LIMITS.items() if name in field]
    return " ".join([_TYPES[field["type"]], *limits])


if __name__ == "__main__":
    PLACE.write_text(render(), encoding="utf-8")
