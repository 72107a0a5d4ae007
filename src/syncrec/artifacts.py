"""Files that are either whole or absent: atomic writes, directories staged beside their place, manifest last.

An artefact (a prepared dataset, for example) is a directory with a `manifest.json` that lists every file with its
size and SHA-256. The manifest is written last and the directory is moved into place whole, so its presence proves
completeness. Replacing an older directory takes two renames: a process killed between them leaves the older one beside
its place, under a name that begins with a dot and its own.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from syncrec.errors import ArtifactError, LockedError, MissingCapabilityError

__all__ = [
    "MANIFEST_NAME",
    "altered_files",
    "claim",
    "clear_write_errors",
    "exclusive",
    "file_checksum",
    "is_held",
    "need_locks",
    "open_manifest",
    "read_json",
    "remove_tree",
    "replaced_file",
    "scratch_directory",
    "staged_directory",
    "write_bytes",
    "write_json",
    "write_manifest",
    "write_text",
]

MANIFEST_NAME = "manifest.json"
_LOCK_NAME = ".lock"
_YOUNG_S = 60
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` in one rename when the block ends without an error.

    A crash leaves the old file or the new one, never a mixture. A process that is killed leaves its temporary file
    behind, `.<its name>.new-...`; the next one that writes the same file removes it.

    Raises:
        ArtifactError: `path` is a directory, or cannot be written, also where the disk becomes full in the block.
    """
    if path.is_dir():
        raise ArtifactError(f"{path}: is a directory; give the name of a file")
    with clear_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path, "new")
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.new-")
    os.close(handle)
    held = _hold(Path(name))
    try:
        yield Path(name)
        with Path(name).open("rb") as file:
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise ArtifactError(f"{path}: cannot be written: {error.strerror}") from None
        raise
    finally:
        if held is not None:
            os.close(held)


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """While the block runs no other process gets `directory`; the lock ends with the process, however it ends.

    Where the system has no such locks (Windows), nothing is locked.

    Raises:
        LockedError: another process has it.
        ArtifactError: it cannot be written.
    """
    if not _has_locks():
        yield
        return
    file = _try_lock(directory / _LOCK_NAME, directory)
    if file is None:
        raise LockedError(f"{directory}: another process is writing it; wait for its end, or choose another --out")
    with file:
        yield


def is_held(directory: Path) -> bool:
    """Whether another process has `directory` (`exclusive`) at this moment."""
    if not _has_locks() or not (directory / _LOCK_NAME).exists():
        return False
    file = _try_lock(directory / _LOCK_NAME, directory)
    if file is not None:
        file.close()
    return file is None


def claim(path: Path) -> IO[str] | None:
    """The file `path`, locked and nobody else's as long as it is open; None if somebody else has it.

    A process that inherits the open file keeps it too, so a claim lasts until the last of these has ended, however.
    Where the system has no such locks (Windows), everybody gets it: see `need_locks`.

    Raises:
        ArtifactError: the file cannot be written.
    """
    return _try_lock(path, path)


def need_locks() -> None:
    """See that claims hold here.

    Raises:
        MissingCapabilityError: the system has no such locks (Windows).
    """
    if not _has_locks():
        raise MissingCapabilityError("several workers need file locks, which this system has not; use one")


def _has_locks() -> bool:
    return find_spec("fcntl") is not None


def _try_lock(path: Path, what: Path) -> IO[str] | None:
    """The file `path`, open and locked, None if another process has locked it; `what` is named where it cannot be."""
    with clear_write_errors(what):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="utf-8")
    if not _has_locks():
        return file
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step."""
    with replaced_file(path) as place:
        place.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON; NaN and infinity are refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """The JSON object in `path`.

    Raises:
        ArtifactError: the file is missing or no JSON object; `what` names it for the user.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file ({what})") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ArtifactError(f"{path}: {what} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{path}: {what} is damaged: expected a JSON object, got a {type(value).__name__}")
    return value


def file_checksum(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def staged_directory(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary directory beside `target` that becomes `target` when the block ends without an error.

    After an error nothing is left behind, and an old `target` is untouched.

    Raises:
        ArtifactError: `target` exists and `overwrite` is false, it is not an artefact of ours, or it cannot be written.
    """
    with clear_write_errors(target):
        _check_target(target, overwrite)
    with scratch_directory(target, "partial") as stage:
        yield stage
        stage.chmod(0o777 & ~_umask())
        with clear_write_errors(target):
            _check_target(target, overwrite)  # another process may have been faster
            _move_into_place(stage, target)


@contextlib.contextmanager
def scratch_directory(target: Path, kind: str) -> Iterator[Path]:
    """A directory beside `target`, called `.<its name>.<kind>-...`, that is gone when the block ends.

    A process that is killed leaves its own behind; the next one that wants one for the same target removes it.

    Raises:
        ArtifactError: it cannot be made.
    """
    with clear_write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(target, kind)
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.{kind}-"))
    handle = _hold(scratch)
    try:
        yield scratch
    finally:
        remove_tree(scratch)
        if handle is not None:
            os.close(handle)


def _remove_left(target: Path, kind: str) -> None:
    """Remove what processes left beside `target` that are gone."""
    for left in target.parent.glob(glob.escape(f".{target.name}.{kind}-") + "*"):
        _remove_if_nobodys(left)


def _hold(path: Path) -> int | None:
    """An open, locked file or directory, locked as long as the process lives; None if another process has it locked."""
    if not _has_locks():
        return None
    import fcntl

    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _remove_if_nobodys(path: Path) -> None:
    """Remove what a process left that is gone; a young one may belong to a process that has not locked it yet."""
    with contextlib.suppress(OSError):  # its owner was just removing it
        if time.time() - path.stat().st_mtime > _YOUNG_S and (handle := _hold(path)) is not None:
            if path.is_dir():
                remove_tree(path)
            else:
                path.unlink()
            os.close(handle)


def remove_tree(directory: Path) -> None:
    """Remove `directory`; again, if another process that nobody waits for any more was just writing into it."""
    for pause_s in (0, 0.1, 1):
        time.sleep(pause_s)
        shutil.rmtree(directory, ignore_errors=True)
        if not directory.exists():
            return


def _check_target(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ArtifactError(f"{target}: exists and is no directory; choose another --out")
    if not any(target.iterdir()):
        return
    if not overwrite:
        raise ArtifactError(f"{target}: exists already; choose another --out, or replace it with --overwrite")
    if foreign := _foreign_file(target):
        raise ArtifactError(f"{target}: holds other files ({foreign}) and will not be replaced; choose another --out")


def _foreign_file(directory: Path) -> str | None:
    """A file that is none of an artefact of ours, or of the one that `directory` is; None if there is none."""
    try:
        manifest = json.loads((directory / MANIFEST_NAME).read_bytes())
        own = {MANIFEST_NAME, *manifest["files"]} if "kind" in manifest else set()
    except (OSError, ValueError, TypeError, KeyError):
        own = set()
    files = (str(path.relative_to(directory)) for path in sorted(directory.rglob("*")) if not path.is_dir())
    return next((name for name in files if name not in own), None)


def _move_into_place(stage: Path, target: Path) -> None:
    if not target.exists() or not any(target.iterdir()):
        stage.rename(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old-"))
    try:
        target.rename(old / "old")
        stage.rename(target)
    except BaseException:
        if not target.exists() and (old / "old").exists():
            (old / "old").rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def write_manifest(directory: Path, kind: str, schema_version: int, content: dict[str, Any]) -> None:
    """Write the manifest of `directory`: `content` plus kind, version, and size and checksum of every file."""
    files = {
        str(path.relative_to(directory)): {"bytes": path.stat().st_size, "sha256": file_checksum(path)}
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != MANIFEST_NAME
    }
    head = {"kind": kind, "schema_version": schema_version}
    write_json(directory / MANIFEST_NAME, {**head, **content, "files": files})


def open_manifest(directory: Path, kind: str, schema_version: int, *, check_content: bool = True) -> dict[str, Any]:
    """The manifest of `directory` after every file in it was checked; without `check_content` its size alone.

    Raises:
        ArtifactError: no directory, no manifest (half-written), another kind or version, or a file that is
            missing or differs from its checksum.
    """
    if not directory.is_dir():
        raise ArtifactError(f"{directory}: no such {kind}")
    if not (directory / MANIFEST_NAME).exists():
        raise ArtifactError(f"{directory}: no {MANIFEST_NAME}: not a {kind}, or one that was never finished")
    manifest: dict[str, Any] = read_json(directory / MANIFEST_NAME, f"manifest of a {kind}")
    found = (manifest.get("kind"), manifest.get("schema_version"))
    if found != (kind, schema_version):
        told = f"its {MANIFEST_NAME} names no kind" if found[0] is None else f"is a {found[0]} of version {found[1]}"
        raise ArtifactError(
            f"{directory}: {told}; this syncrec reads a {kind} of version {schema_version}; make it again"
        )
    for name, expected in manifest["files"].items():
        _check_size(directory / name, expected, kind)
    if check_content and (altered := altered_files(directory, manifest)):
        raise ArtifactError(
            f"{directory / altered[0]}: altered since it was written (checksum differs); make the {kind} again"
        )
    return manifest


def altered_files(directory: Path, manifest: dict[str, Any]) -> list[str]:
    """The files of `directory` whose content is not the one in `manifest`; all of them must exist."""
    files = manifest["files"].items()
    return [name for name, expected in files if file_checksum(directory / name) != expected["sha256"]]


def _check_size(path: Path, expected: dict[str, Any], kind: str) -> None:
    if not path.is_file():
        raise ArtifactError(f"{path}: missing; the {kind} is damaged, make it again")
    size = path.stat().st_size
    if size != expected["bytes"]:
        raise ArtifactError(f"{path}: {size} bytes where the manifest says {expected['bytes']}; make the {kind} again")


@contextlib.contextmanager
def clear_write_errors(path: Path) -> Iterator[None]:
    """Turns what goes wrong while `path`, or something for it, is written into one line.

    Raises:
        ArtifactError: the disk is full, say, or a directory may not be written.
    """
    try:
        yield
    except OSError as error:
        # numpy counts what it wanted and what it got, without a reason; it is always a full disk.
        reason = error.strerror or f"{os.strerror(errno.ENOSPC)} ({error})"
        raise ArtifactError(f"{path}: cannot be written: {reason}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
