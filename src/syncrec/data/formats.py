"""Which notation a raw file is in, and which of its columns mean what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from syncrec.errors import ConfigError, DataError, nearest_names

__all__ = ["FIELDS", "PRESETS", "Format", "Preset", "domain_column", "find_columns", "find_preset", "format_of"]

FIELDS = ("user", "item", "domain", "timestamp")
Kind = Literal["csv", "jsonl", "parquet"]

_KINDS: dict[str, tuple[Kind, str]] = {
    ".csv": ("csv", ","),
    ".tsv": ("csv", "\t"),
    ".inter": ("csv", "\t"),
    ".jsonl": ("jsonl", ""),
    ".ndjson": ("jsonl", ""),
    ".json": ("jsonl", ""),
    ".parquet": ("parquet", ""),
}
_COMPRESSIONS = (".gz", ".zst")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


@dataclass(frozen=True)
class Format:
    """The notation of one file: its kind, what separates fields (CSV only), and `""`, `".gz"` or `".zst"`."""

    kind: Kind
    separator: str
    compression: str


@dataclass(frozen=True)
class Preset:
    """A publisher's layout.

    `columns` names the columns that may hold each field, the first one present is taken; `header` are the column
    names of files that have no header line of their own.
    """

    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    header: tuple[str, ...] | None = None


_AMAZON_JSON = Preset({"user": ("reviewerID",), "item": ("asin",), "timestamp": ("unixReviewTime",)})

PRESETS: Mapping[str, Preset] = {
    "amazon-2014-json": _AMAZON_JSON,
    "amazon-2018-json": _AMAZON_JSON,
    "amazon-2014-ratings-csv": Preset(header=("user", "item", "rating", "timestamp")),
    "amazon-2018-ratings-csv": Preset(header=("item", "user", "rating", "timestamp")),
    "amazon-2023": Preset({"user": ("user_id",), "item": ("parent_asin", "asin")}),
    "recbole": Preset({"user": ("user_id",), "item": ("item_id",)}),
}


def find_preset(name: str | None) -> Preset:
    """The preset `name`; the one without a name has the columns user, item, domain and timestamp.

    Raises:
        ConfigError: there is none of that name; with the nearest.
    """
    if name is None:
        return Preset()
    if name not in PRESETS:
        near = nearest_names(name, PRESETS) or list(PRESETS)
        raise ConfigError(f"unknown preset {name!r}; nearest: {', '.join(near)}")
    return PRESETS[name]


def format_of(path: Path) -> Format:
    """The notation of `path` by its extension.

    Raises:
        DataError: the extension is none of ours.
    """
    compression = path.suffix.lower() if path.suffix.lower() in _COMPRESSIONS else ""
    extension = Path(path.stem if compression else path.name).suffix.lower()
    if extension not in _KINDS or (extension == ".parquet" and compression):
        known = ", ".join(_KINDS)
        raise DataError(f"{path}: unknown extension; known are {known}, all but .parquet also with .gz or .zst")
    kind, separator = _KINDS[extension]
    return Format(kind, separator, compression)


def find_columns(
    path: Path, names: Sequence[str], fields: Sequence[str], preset: Preset, mapped: Mapping[str, str]
) -> dict[str, int]:
    """Which of the columns `names` of the file `path` holds each of `fields`.

    An explicit `mapped` name wins over the preset's, and that over the field's own name. What follows a colon in the
    column names of an `.inter` file is its type and no part of the name.

    Raises:
        DataError: a field has no column, or a name occurs twice.
    """
    if _is_inter(path):
        preset = preset if preset.columns else PRESETS["recbole"]
    bare = _bare_names(path, names)
    return {f: _find_column(path, bare, f, _candidates(f, preset, mapped)) for f in fields}


def domain_column(path: Path, names: Sequence[str], preset: Preset, mapped: Mapping[str, str]) -> str | None:
    """Which of the columns `names` of the file `path` would hold the domain, None if none would."""
    bare = _bare_names(path, names)
    return next((name for name in _candidates("domain", preset, mapped) if name in bare), None)


def _is_inter(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").removesuffix(".zst").endswith(".inter")


def _bare_names(path: Path, names: Sequence[str]) -> Sequence[str]:
    """Column names without the types that those of an `.inter` file have after a colon."""
    return [name.partition(":")[0] for name in names] if _is_inter(path) else names


def _candidates(field_name: str, preset: Preset, mapped: Mapping[str, str]) -> Sequence[str]:
    if field_name in mapped:
        return (mapped[field_name],)
    return (*preset.columns.get(field_name, ()), field_name)


def _find_column(path: Path, names: Sequence[str], field_name: str, candidates: Sequence[str]) -> int:
    wanted = next((c for c in candidates if c in names), None)
    if wanted is None:
        _check_separator(path, names)
        remedy = f"name the one that holds it: --columns {field_name}=COLUMN"
        if field_name == "domain":
            remedy += f", or the domain of the whole file: --domain NAME={path.name}"
        raise DataError(f"{path}: no column {candidates[0]!r} among {', '.join(map(repr, names))}; {remedy}")
    if names.count(wanted) > 1:
        raise DataError(f"{path}: two columns are called {wanted!r}; rename one")
    return names.index(wanted)


def _check_separator(path: Path, names: Sequence[str]) -> None:
    """See that a CSV file in which no column was found does not have another separator.

    Raises:
        DataError: its header is one name that holds such a character.
    """
    notation = format_of(path)
    other = next((s for s in _SEPARATORS if len(names) == 1 and s in names[0]), None)
    if notation.kind == "csv" and other is not None:
        wanted = _SEPARATORS[notation.separator]
        extension = {"\t": ".tsv", ",": ".csv"}.get(other)
        remedy = f"give it the extension {extension}" if extension else f"write it anew with {wanted} between fields"
        raise DataError(
            f"{path}: its header is one column, {names[0]!r}; fields must be separated by {wanted}, and seem to be by "
            f"{_SEPARATORS[other]}; {remedy}"
        )
