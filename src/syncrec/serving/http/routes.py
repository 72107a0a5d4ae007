"""The routes: JSON in, the service asked, JSON out."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import Response

from syncrec import artifacts
from syncrec.errors import ArtifactError, ConfigError
from syncrec.serving.http.gate import Call
from syncrec.serving.http.logs import log
from syncrec.serving.http.metrics import Metrics
from syncrec.serving.http.openapi import RouteEntry, openapi_document
from syncrec.serving.http.page import Page
from syncrec.serving.http.problems import HttpError
from syncrec.serving.live import LiveModel
from syncrec.serving.messages import (
    BatchAnswer,
    BatchRequest,
    EventMessage,
    EventsAnswer,
    HistoryAnswer,
    RecommendationsAnswer,
    RecommendationsRequest,
    ReloadAnswer,
    ReloadRequest,
    ServedRun,
)
from syncrec.serving.service import Service

__all__ = ["Routes"]

_Events = EventMessage | list[EventMessage]
_READ_ONE = msgspec.json.Decoder(RecommendationsRequest)
_READ_BATCH = msgspec.json.Decoder(BatchRequest)
_READ_EVENTS = msgspec.json.Decoder(_Events)
_READ_RELOAD = msgspec.json.Decoder(ReloadRequest)
_WRITE = msgspec.json.Encoder()

_QUESTION = {"user": "alice", "domain": "books", "k": 10, "exclude_seen": True}
_EVENT = {"event_id": "7f1", "kind": "click", "user": "alice", "domain": "books", "item": "b3", "timestamp": 1700000000}
_USER = {"name": "user", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
_LIMIT = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "default": 50}}


@dataclass(frozen=True)
class Routes:
    """Handlers over one service; `state` is the folder of all workers, `has_keys`: whether keys are asked for."""

    service: Service
    metrics: Metrics
    page: Page
    state: Path
    has_keys: bool

    def entries(self) -> list[RouteEntry]:
        """Every route of the service."""
        question, many = {"example": _QUESTION}, {"example": {"requests": [_QUESTION]}}
        post: Callable[..., RouteEntry] = lambda *given, **named: RouteEntry("POST", *given, **named)  # noqa: E731
        get: Callable[..., RouteEntry] = lambda *given, **named: RouteEntry("GET", *given, **named)  # noqa: E731
        html, text = {"media_type": "text/html"}, {"media_type": "text/plain"}
        own: dict[str, Any] = {"body": RecommendationsRequest, "answer": RecommendationsAnswer, **question}
        batch: dict[str, Any] = {"body": BatchRequest, "answer": BatchAnswer, **many}
        events: dict[str, Any] = {"body": _Events, "answer": EventsAnswer, "example": [_EVENT]}
        reload: dict[str, Any] = {"body": ReloadRequest, "answer": ReloadAnswer}
        history: dict[str, Any] = {"answer": HistoryAnswer, "parameters": (_USER, _LIMIT)}
        place = {"example": {"run": "run", "path": "/srv/runs/tuesday"}}
        return [
            post("/v1/recommendations", "read", self.recommend, "The best items of a domain", **own),
            post("/v1/recommendations/batch", "read", self.recommend_batch, "Several questions at once", **batch),
            post("/v1/events", "write", self.add_events, "What users did: one event or a list", **events),
            get("/v1/users/{user:path}/history", "read", self.history, "What is known of a user", **history),
            get("/v1/runs", "read", self.runs, "The runs that are served", answer=list[ServedRun]),
            post("/v1/admin/reload", "admin", self.reload, "Serve another run directory", **reload, **place),
            get("/metrics", "read", self.show_metrics, "Numbers for Prometheus", **text),
            get("/openapi.json", "read", self.openapi, "This document"),
            get("/", "read", self.show_page, "Answers side by side, for people", **html),
            get("/healthz", None, self.healthy, "The process is alive"),
            get("/readyz", None, self.ready, "Models are loaded and the store can be read"),
        ]

    async def recommend(self, call: Call) -> Response:
        """One answer."""
        return _json((await self.service.recommend([_READ_ONE.decode(call.body)], call.request_id))[0])

    async def recommend_batch(self, call: Call) -> Response:
        """Several answers."""
        requests = _READ_BATCH.decode(call.body).requests
        limit = self.service.settings.max_batch
        if len(requests) > limit:
            raise ConfigError(f"requests may be {limit} at most, got {len(requests)}")
        return _json(BatchAnswer(await self.service.recommend(requests, call.request_id)))

    async def add_events(self, call: Call) -> Response:
        """Acknowledge events, now that they are durable."""
        sent = _READ_EVENTS.decode(call.body)
        return _json(await self.service.add_events(sent if isinstance(sent, list) else [sent]))

    async def history(self, call: Call) -> Response:
        """The last events of a user."""
        limit = self.service.settings.max_history
        text = call.request.query_params.get("limit", str(min(50, limit)))
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= limit):
            raise ConfigError(f"limit must be a number from 1 to {limit}, got {text[:20]!r}")
        user = call.request.path_params["user"]
        if not 0 < len(user) <= 256 or any(ord(letter) < 32 or letter == "\x7f" for letter in user):
            raise ConfigError("user must be of 1 to 256 characters, and none of them a control character")
        return _json(await self.service.history(user, int(text)))

    async def runs(self, _call: Call) -> Response:
        """Facts about each served run."""
        return _json([_facts(live) for live in self.service.models.all()])

    async def reload(self, call: Call) -> Response:
        """Check another run, then let it answer; whatever goes wrong, the one before goes on."""
        request, models = _READ_RELOAD.decode(call.body), self.service.models
        models.get(request.run)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(artifacts.exclusive(self.state))
            except ArtifactError:
                raise HttpError(409, "another run is being loaded; ask again when it is done") from None
            await asyncio.to_thread(models.follow)
            live = await asyncio.to_thread(models.opened, request.run, Path(request.path).resolve())
            before = await self._switch(live)
            models.publish()
        log("reload", run=live.name, version=live.version, before=before.version, id=call.request_id)
        return _json(ReloadAnswer(live.name, live.version, before.version))

    async def _switch(self, live: LiveModel) -> LiveModel:
        before = self.service.models.switch(live)
        try:
            await self.service.probe(live)
        except BaseException:
            self.service.models.switch(before)
            raise
        return before

    async def show_metrics(self, _call: Call) -> Response:
        """Counters and histograms."""
        text = await asyncio.to_thread(self.metrics.text, self.service)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, _call: Call) -> Response:
        """The OpenAPI document."""
        return _json(openapi_document(self.entries(), has_keys=self.has_keys))

    async def show_page(self, call: Call) -> Response:
        """The page."""
        return await self.page.show(call)

    async def healthy(self, _call: Call) -> Response:
        """Alive."""
        return _json({"status": "alive"})

    async def ready(self, _call: Call) -> Response:
        """Ready, if the store can be read; the models were loaded before the first request."""
        try:
            await asyncio.wait_for(asyncio.to_thread(self.service.store.ping), 2)
        except (TimeoutError, Exception) as error:
            log("not ready", reason=str(error))
            raise HttpError(503, "the store cannot be read") from None
        return _json({"status": "ready"})


def _json(value: object) -> Response:
    return Response(_WRITE.encode(value), media_type="application/json")


def _facts(live: LiveModel) -> ServedRun:
    domains, weights = live.dataset.domains, live.fusion_weights
    return ServedRun(
        run=live.name,
        model_version=live.version,
        model=live.model_name,
        epoch=live.epoch,
        age_s=round(live.age_s, 1),
        domains={domain: len(live.index.ids[number]) for number, domain in enumerate(domains)},
        answers=list(live.answers),
        users=live.dataset.num_users,
        fusion_weights={} if weights is None else dict(zip(domains, weights, strict=True)),
    )
