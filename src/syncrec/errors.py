"""The exception tree: every error a user can cause is a `SyncrecError` whose text is one clear line.

Nothing else is caught by the command line: any other exception is a fault of this package and keeps its
traceback.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "ArtifactError",
    "BusyError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "LockedError",
    "LostProcessError",
    "MissingCapabilityError",
    "NonFiniteLossError",
    "OtherProcessError",
    "StoreError",
    "StoreFullError",
    "StoreRefusalError",
    "SyncrecError",
    "UnknownDomainError",
    "UnknownItemError",
    "UnknownNameError",
    "UnknownRunError",
    "UnknownUserError",
    "WorkerError",
    "nearest_names",
]


class SyncrecError(Exception):
    """Base of all errors with a message meant for the user: what, where, what came, what is allowed, remedy."""


class ConfigError(SyncrecError):
    """A setting is unknown, out of range or contradicts another one."""


class DataError(SyncrecError):
    """A raw log cannot be read or does not hold what is asked of it.

    The text begins with `file:line:` where a single row is at fault.
    """


class ArtifactError(SyncrecError):
    """A dataset, run or result on disk is missing, half-written, altered, or of another version."""


class LockedError(ArtifactError):
    """Another process is at work there."""


class CheckpointError(ArtifactError):
    """A checkpoint does not fit the model: the text names the field, the saved and the expected value."""


class MissingCapabilityError(SyncrecError):
    """The machine lacks something that was asked for (a device, an optional package)."""


class WorkerError(SyncrecError):
    """A worker of a cluster died, cannot be reached, or does not see the files it is asked for."""


class NonFiniteLossError(SyncrecError):
    """Training met a loss that is NaN or infinite; the text names the step, the domain and the part."""


class LostProcessError(SyncrecError):
    """Another of several processes that work together has ended or does not answer any more."""


class OtherProcessError(SyncrecError):
    """Something went wrong in another of several processes, so that all of them end."""


class BusyError(SyncrecError):
    """The service has more to do than it can keep waiting; the same may be asked again later."""


class StoreError(SyncrecError):
    """The event store cannot be opened, read or written; what was not acknowledged may be sent again."""


class StoreFullError(StoreError):
    """The event store's disk is full; nothing of what was sent is stored."""


class StoreRefusalError(StoreError):
    """The event store's database refuses an event as it is; sending it again is of no use."""


class UnknownNameError(SyncrecError):
    """A name is not in the dataset; the text offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], remedy: str = "") -> None:
        near = nearest_names(name, known)
        hint = f"; nearest: {', '.join(repr(n) for n in near)}" if near else ""
        super().__init__(f"unknown {kind} {name!r}{hint}{'; ' + remedy if remedy else ''}")


class UnknownUserError(UnknownNameError):
    """A user id is not in the dataset."""


class UnknownItemError(UnknownNameError):
    """An item id is not in the domain's catalogue."""


class UnknownDomainError(UnknownNameError):
    """A domain is not in the dataset."""


class UnknownRunError(UnknownNameError):
    """A run is not one of those that are served."""


def nearest_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Up to `limit` of the `known` names that look most like `name`, best first; empty if none is close."""
    candidates = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), candidates, n=limit, cutoff=0.5)
    return [candidates[c] for c in close]
