"""What every request goes through: its key and role, its rate, its body, its clock, and its errors."""

import asyncio
import base64
import binascii
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from syncrec.serving.http.keys import KeyRing
from syncrec.serving.http.logs import log
from syncrec.serving.http.metrics import Metrics
from syncrec.serving.http.problems import HttpError, problem_of, problem_response
from syncrec.serving.settings import ServiceSettings

__all__ = ["Call", "Gate", "Handler"]

_REQUEST_ID = re.compile(r"[\w.-]{1,64}")
_MOST_BUCKETS = 100_000


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in."""

    request: Request
    body: bytes
    request_id: str


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(slots=True)
class _Bucket:
    """Tokens of one caller: one a request, refilled at the rate."""

    tokens: float
    since: float


@dataclass
class Gate:
    """Wraps handlers; without keys everybody may do everything but administer."""

    settings: ServiceSettings
    keys: KeyRing | None
    metrics: Metrics
    num_workers: int = 1
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def guard(self, route: str, role: str | None, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of `route`: `handler`, for callers with `role` (None: for all)."""

        async def endpoint(request: Request) -> Response:
            begun, request_id = time.perf_counter(), _request_id(request)
            try:
                caller = self._caller(request, role)
                body = await self._body(request) if request.method == "POST" else b""
                response = await handler(Call(request, body, request_id))
            except Exception as error:
                caller, response = "", _failure(error, request_id)
            seconds = time.perf_counter() - begun
            response.headers["X-Request-ID"] = request_id
            self.metrics.requested(route, response.status_code, seconds)
            log(
                "request",
                route=route,
                status=response.status_code,
                ms=round(seconds * 1000, 2),
                id=request_id,
                key=caller,
            )
            return response

        return endpoint

    def _caller(self, request: Request, role: str | None) -> str:
        """Who asks, by the name of the key, if the role and the rate allow it."""
        if role is None:
            return ""
        if self.keys is None:
            if role == "admin":
                raise HttpError(403, "administration needs keys: start the service with --keys FILE")
            name = request.client.host if request.client else "unknown"
        else:
            name = self._key_name(request, self.keys, role)
        self._count(name)
        return name if self.keys else ""

    def _key_name(self, request: Request, keys: KeyRing, role: str) -> str:
        secret = _secret(request.headers.get("authorization", ""))
        found = keys.find(secret) if secret else None
        if found is None:
            detail = "the key is missing or wrong; send `Authorization: Bearer KEY`"
            raise HttpError(401, detail, {"WWW-Authenticate": 'Basic realm="syncrec", charset="UTF-8"'})
        name, roles = found
        if role not in roles and "admin" not in roles:
            raise HttpError(403, f"this needs a key with the role {role}; {name} has {', '.join(sorted(roles))}")
        return name

    def _count(self, name: str) -> None:
        rate = self.settings.rate_per_s / self.num_workers
        if not rate:
            return
        now, burst = time.monotonic(), self.settings.rate_burst
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.clear()
        bucket = self._buckets.setdefault(name, _Bucket(burst, now))
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.since) * rate)
        bucket.since = now
        if bucket.tokens < 1:
            wait = str(int((1 - bucket.tokens) / rate) + 1)
            raise HttpError(429, f"more than {self.settings.rate_per_s:g} requests a second", {"Retry-After": wait})
        bucket.tokens -= 1

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HttpError(415, f"send JSON with `Content-Type: application/json`, got {kind[:60]!r}")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.settings.max_body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.settings.body_timeout_s):
                return await self._read(request)
        except TimeoutError:
            detail = f"the body took longer than {self.settings.body_timeout_s:g} seconds"
            raise HttpError(408, detail, {"Connection": "close"}) from None

    async def _read(self, request: Request) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.settings.max_body_bytes:
                raise self._too_large()
            parts.append(part)
        return b"".join(parts)

    def _too_large(self) -> HttpError:
        detail = f"the body may have {self.settings.max_body_bytes} bytes at most; send less at once"
        return HttpError(413, detail, {"Connection": "close"})


def _request_id(request: Request) -> str:
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _secret(header: str) -> str:
    """The key in an Authorization header: a bearer's, or the password of a browser, whose user name is of no matter."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _failure(error: Exception, request_id: str) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)
    problem = problem_of(error)
    if problem.status == 500:
        log("fault", level=logging.ERROR, error=error, id=request_id)
    return problem_response(problem, request_id)
