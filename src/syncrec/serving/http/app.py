"""The web application: everything put together, for one process."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import torch
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncrec.serving.arms import ArmChooser, ExperimentArms, OneArm
from syncrec.serving.http.gate import Gate
from syncrec.serving.http.keys import KeyRing
from syncrec.serving.http.logs import log, set_up_logs
from syncrec.serving.http.metrics import Metrics
from syncrec.serving.http.page import Page
from syncrec.serving.http.problems import HttpError, problem_response
from syncrec.serving.http.protocol import HEADER_TIMEOUT
from syncrec.serving.http.routes import Routes
from syncrec.serving.item_table import ItemTable
from syncrec.serving.live import Indices, LiveModel
from syncrec.serving.live_experiment import LiveExperiment
from syncrec.serving.registry import ModelRegistry
from syncrec.serving.request_log import RequestLog
from syncrec.serving.service import Service
from syncrec.serving.settings import ServeOptions
from syncrec.serving.store.events import EventStore

__all__ = ["OPTIONS_VARIABLE", "create_app", "from_environment", "open_registry"]

OPTIONS_VARIABLE = "SYNCREC_SERVE_OPTIONS"
_FOLLOW_EVERY_S = 0.5


def from_environment() -> Starlette:
    """The application of a worker process, which gets its options in an environment variable."""
    set_up_logs()
    return create_app(ServeOptions.model_validate_json(os.environ[OPTIONS_VARIABLE]))


def open_registry(options: ServeOptions) -> ModelRegistry:
    """Every run, opened and probed.

    Raises:
        SyncrecError: one of them, or the item table, cannot be used.
    """
    items = None if options.items is None else ItemTable(options.items)

    indices = _indices(options)

    def load(name: str, path: Path) -> LiveModel:
        live = LiveModel(name, path, options.dataset, items, indices)
        for domain, measured in live.measured.items():
            log("index", run=name, domain=domain, **asdict(measured))
        return live

    return ModelRegistry(options.runs, load, options.state)


def _indices(options: ServeOptions) -> Indices | None:
    """Where indices of large domains are kept; None without the package that makes them."""
    if find_spec("faiss") is None:
        return None
    return Indices(options.settings.index_from_items, options.state)


def create_app(options: ServeOptions, chooser: ArmChooser | None = None) -> Starlette:
    """The application; models and store are opened now, and closed when it shuts down.

    Args:
        options: what to serve, and how.
        chooser: says who answers whom; None: the options' experiment, or without one the first run for everybody.

    Raises:
        SyncrecError: a run, the store, the item table or the keys cannot be used.
    """
    torch.set_num_threads(1)  # several workers share the cores
    keys = None if options.keys is None else KeyRing.load(options.keys)
    models, metrics = open_registry(options), Metrics()
    chooser = chooser or _chooser(options)
    store = EventStore(options.store)
    requests = RequestLog(store, _not_recorded) if options.experiment and options.settings.record_requests else None
    service = Service(models, store, chooser, options.settings, metrics, requests)
    experiment = None if options.experiment is None else LiveExperiment(options.experiment, store)
    gate = Gate(options.settings, keys, metrics, options.workers)
    routes = Routes(service, metrics, Page(service, metrics, experiment), options.state, keys is not None)
    origins = list(options.settings.cors_origins)
    return Starlette(
        routes=[
            Route(entry.path, gate.guard(entry.public_path, entry.role, entry.handler), methods=[entry.method])
            for entry in routes.entries()
        ],
        middleware=[Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])]
        if origins
        else [],
        exception_handlers={HTTPException: _no_route},
        lifespan=lambda _: _lifespan(service, requests),
    )


def _not_recorded(number: int, reason: str) -> None:
    log("requests are not recorded", number=number, reason=reason)


def _chooser(options: ServeOptions) -> ArmChooser:
    if options.experiment is None:
        return OneArm(next(iter(options.runs)))
    return ExperimentArms(options.experiment, options.runs)


@contextlib.asynccontextmanager
async def _lifespan(service: Service, requests: RequestLog | None) -> AsyncIterator[Mapping[str, float]]:
    log("start", runs={live.name: live.version for live in service.models.all()}, process=os.getpid())
    tasks = [asyncio.create_task(_follow(service.models))]
    if requests is not None:
        tasks.append(asyncio.create_task(requests.run()))
    try:
        yield {HEADER_TIMEOUT: service.settings.header_timeout_s}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.to_thread(service.close)
        log("stop", process=os.getpid())


async def _follow(models: ModelRegistry) -> None:
    """Notice runs that another worker was told to serve."""
    while True:
        await asyncio.sleep(_FOLLOW_EVERY_S)
        for fault in await asyncio.to_thread(models.follow):
            log("reload failed, the run before goes on", reason=fault)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = f"no such route: {request.method} {request.url.path[:200]}; GET /openapi.json lists them"
    return problem_response(HttpError(status, detail, dict(getattr(error, "headers", None) or {})), "")
