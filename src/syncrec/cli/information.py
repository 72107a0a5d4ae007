"""The commands that only tell: `doctor`, `models`, `keys`."""

from syncrec.cli.text import console, print_columns
from syncrec.errors import SyncrecError

__all__ = ["doctor", "keys", "models"]


def doctor() -> None:
    """Versions, device, threads, and whether the installation works."""
    from syncrec.doctor import examine

    if not examine(console()):
        raise SyncrecError("the installation does not work; see above")


def models() -> None:
    """The models that can be trained."""
    from syncrec.models.registry import MODELS

    print_columns((name, f"{entry.description}  [{entry.source}]") for name, entry in MODELS.items())


def keys() -> None:
    """Every key of a configuration file, its default and its meaning."""
    from syncrec.config import config_keys

    print_columns((name, repr(default), meaning) for name, default, meaning in config_keys())
