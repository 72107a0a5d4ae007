"""Whether a command may write to the file that its user names, asked before the work."""

import json
from pathlib import Path

from syncrec.errors import ArtifactError

__all__ = ["check_json_place"]


def check_json_place(path: Path, kind: str) -> None:
    """See, before the work, that JSON of a `kind` may be written to `path`: nothing lies there, or the same kind.

    Raises:
        ArtifactError: something else lies there.
    """
    if path.is_dir():
        raise ArtifactError(f"{path}: is a directory; give the name of a file")
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("kind") != kind:
        raise ArtifactError(f"{path}: exists already and is no {kind}; remove it, or choose another file")
