"""What the user names as input becomes a list of files."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from syncrec.data.formats import Format, format_of
from syncrec.errors import DataError

__all__ = ["InputFile", "Source", "find_files"]

_MAGIC = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}


@dataclass(frozen=True)
class Source:
    """A file, or a glob of files; all their events belong to `domain`, or to the one in a column if it is None."""

    pattern: str
    domain: str | None = None


@dataclass(frozen=True)
class InputFile:
    """One raw file that exists, with its notation."""

    path: Path
    domain: str | None
    format: Format


def find_files(sources: Sequence[Source]) -> list[InputFile]:
    """The files of all sources: sources in the order given, the files of a glob sorted by name.

    Raises:
        DataError: a file is missing, empty, of an unknown notation or named twice, or a glob matches nothing.
    """
    if not sources:
        raise DataError("no input: name at least one log")
    files = [_input_file(path, source.domain) for source in sources for path in _matches(source.pattern)]
    seen: set[Path] = set()
    for file in files:
        if file.path.resolve() in seen:
            raise DataError(f"{file.path}: named twice among the inputs; its events would count double")
        seen.add(file.path.resolve())
    return files


def _matches(pattern: str) -> list[Path]:
    if Path(pattern).exists():
        return [Path(pattern)]
    if not glob.has_magic(pattern):
        raise DataError(f"{pattern}: no such file")
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute pattern)
    if not found:
        raise DataError(f"{pattern}: matches no file")
    return [Path(name) for name in found]


def _input_file(path: Path, domain: str | None) -> InputFile:
    if path.is_dir():
        raise DataError(f"{path}: is a directory; name its files, for example {path}/*.csv")
    notation = format_of(path)
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not head:
        raise DataError(f"{path}: the file is empty")
    magic = _MAGIC.get(notation.compression, b"")
    if not head.startswith(magic):
        raise DataError(f"{path}: is no {notation.compression[1:]} file, whatever its name says; fetch it again")
    return InputFile(path, domain, notation)
