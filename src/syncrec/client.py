"""A client of the service: typed, on one connection that is kept, with nothing to configure but an address and a key.

```python
from syncrec.client import Client

with Client("http://127.0.0.1:8000", key="...") as client:
    answer = client.recommend("books", user="alice", k=10)
    client.send_event("click", user="alice", item=answer.items[0].item, domain="books", request_id=answer.request_id)
```

An event gets its id here, and is sent again with the same one when a connection breaks: it is stored once, and
certainly if the call returns. A client is for one thread.
"""

import http.client
import time
import uuid
from collections.abc import Sequence
from typing import Any, TypedDict, TypeVar, Unpack
from urllib.parse import quote, urlsplit

import msgspec

from syncrec.answers import Answer
from syncrec.errors import SyncrecError
from syncrec.serving.messages import (
    BatchAnswer,
    BatchRequest,
    EventMessage,
    EventsAnswer,
    HistoryAnswer,
    PastItem,
    Problem,
    Range,
    RecommendationsAnswer,
    RecommendationsRequest,
    ReloadAnswer,
    ReloadRequest,
    ServedRun,
)

__all__ = ["Choices", "Client", "ServiceError"]

AnswerT = TypeVar("AnswerT")
_BUSY = 503
_ATTEMPTS = 4
_FIRST_WAIT_S = 0.2


class ServiceError(SyncrecError):
    """The service refused, or cannot be reached (`status` 0)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{detail} (status {status})" if status else detail)
        self.status = status


class Choices(TypedDict, total=False):
    """Further fields of `RecommendationsRequest`."""

    answer: Answer
    exclude_seen: bool
    allow: list[str] | None
    deny: list[str]
    filters: dict[str, list[str] | Range]
    run: str | None


class Client:
    """Speaks with one service.

    Raises (every method):
        ServiceError: it refused, or could not be reached however often it was tried.
    """

    def __init__(self, address: str, key: str | None = None, timeout_s: float = 10.0) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServiceError(0, f"an address is http://HOST:PORT, got {address!r}")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def recommend(
        self,
        domain: str,
        *,
        user: str | None = None,
        history: Sequence[tuple[str, str]] | None = None,
        k: int = 10,
        **more: Unpack[Choices],
    ) -> RecommendationsAnswer:
        """The best `k` items of `domain` for a user, or after a history of (domain, item), oldest first."""
        past = None if history is None else [PastItem(domain=d, item=item) for d, item in history]
        request = RecommendationsRequest(domain=domain, k=k, user=user, history=past, **more)
        return self._call("POST", "/v1/recommendations", RecommendationsAnswer, request)

    def recommend_batch(self, requests: Sequence[RecommendationsRequest]) -> list[RecommendationsAnswer]:
        """Several questions at once; one that cannot be answered makes all fail."""
        body = BatchRequest(requests=list(requests))
        return self._call("POST", "/v1/recommendations/batch", BatchAnswer, body).answers

    def send_event(self, kind: str, *, user: str, domain: str, item: str, **more: Any) -> EventsAnswer:
        """Store one event; `more` are further fields of `EventMessage`."""
        return self.send_events([EventMessage(kind=kind, user=user, domain=domain, item=item, **more)])

    def send_events(self, events: Sequence[EventMessage]) -> EventsAnswer:
        """Store events: durable on return, and once each."""
        named = [msgspec.structs.replace(event, event_id=event.event_id or uuid.uuid4().hex) for event in events]
        return self._call("POST", "/v1/events", EventsAnswer, named)

    def history(self, user: str, limit: int = 50) -> HistoryAnswer:
        """The last events of a user."""
        return self._call("GET", f"/v1/users/{quote(user, safe='')}/history?limit={limit}", HistoryAnswer)

    def runs(self) -> list[ServedRun]:
        """What is served."""
        return self._call("GET", "/v1/runs", list[ServedRun])

    def reload(self, run: str, path: str) -> ReloadAnswer:
        """Let the run directory `path`, of the service's machine, answer as `run`."""
        return self._call("POST", "/v1/admin/reload", ReloadAnswer, ReloadRequest(run=run, path=path))

    def is_ready(self) -> bool:
        """Whether the service answers questions."""
        try:
            self._call("GET", "/readyz", dict[str, str])
        except ServiceError:
            return False
        return True

    def _call(self, method: str, path: str, kind: type[AnswerT], body: Any = None) -> AnswerT:
        """Every call may be repeated: questions change nothing, and events carry ids."""
        content = None if body is None else msgspec.json.encode(body)
        fault = ServiceError(0, "")
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_FIRST_WAIT_S * 2 ** (attempt - 1))
            try:
                status, text = self._send(method, self._prefix + path, content)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                fault = ServiceError(0, f"{self._connection.host}:{self._connection.port}: {error or 'no answer'}")
                continue
            if status < 400:
                return msgspec.json.decode(text, type=kind)
            fault = ServiceError(status, _detail(text))
            if status != _BUSY:
                break
        raise fault

    def _send(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, path, content, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def _detail(text: bytes) -> str:
    try:
        return msgspec.json.decode(text, type=Problem).detail
    except msgspec.DecodeError:
        return text[:200].decode(errors="replace")
