"""What went wrong, as an HTTP answer of one clear line (RFC 9457)."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from syncrec.errors import (
    ArtifactError,
    BusyError,
    ConfigError,
    StoreError,
    StoreFullError,
    StoreRefusalError,
    SyncrecError,
    UnknownNameError,
    UnknownRunError,
)
from syncrec.serving.messages import Problem

__all__ = ["HttpError", "problem_of", "problem_response"]

_TITLES = {
    400: "Bad request",
    401: "Key missing or wrong",
    403: "Not allowed",
    404: "Not found",
    408: "Too slow",
    409: "Conflict",
    413: "Too large",
    415: "Not JSON",
    422: "Cannot be answered",
    429: "Too many requests",
    500: "Fault of the service",
    503: "Not now",
    507: "Store full",
}
# The first that fits counts.
_STATUS_OF: tuple[tuple[type[Exception], int], ...] = (
    (UnknownRunError, 404),
    (UnknownNameError, 422),
    (ConfigError, 422),
    (StoreFullError, 507),
    (StoreRefusalError, 422),
    (StoreError, 503),
    (BusyError, 503),
    (ArtifactError, 409),
    (SyncrecError, 422),
    (msgspec.ValidationError, 422),
    (msgspec.DecodeError, 400),
    (RecursionError, 400),
)
_RETRY = {429: "1", 503: "1"}


class HttpError(Exception):
    """An answer that is no success; `headers` go with it."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def problem_of(error: Exception) -> HttpError:
    """What to answer to `error`; of a fault of our own nothing is told but that it is one."""
    if isinstance(error, HttpError):
        return error
    for kind, status in _STATUS_OF:
        if isinstance(error, kind):
            detail = "the JSON is nested too deeply" if kind is RecursionError else " ".join(str(error).split())
            return HttpError(status, detail[:500], {"Retry-After": _RETRY[status]} if status in _RETRY else None)
    return HttpError(500, "something in the service is wrong; the log says what, under this request id")


def problem_response(error: HttpError, request_id: str) -> Response:
    """`error` as an answer."""
    body = Problem(_TITLES.get(error.status, "Error"), error.status, error.detail, request_id)
    return Response(msgspec.json.encode(body), error.status, error.headers, media_type="application/problem+json")
