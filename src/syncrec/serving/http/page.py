"""The page for people: answers of every run side by side; it works without a network and without scripts."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.resources import files
from typing import Any

import jinja2
from starlette.responses import Response

from syncrec.errors import ConfigError, SyncrecError
from syncrec.experimentation.tables import alarms, notes, report_tables
from syncrec.serving.http.chart import HEIGHT, LEFT, RIGHT, WIDTH, ctr_chart
from syncrec.serving.http.gate import Call
from syncrec.serving.http.metrics import Metrics
from syncrec.serving.live import LiveModel
from syncrec.serving.live_experiment import ExperimentView, LiveExperiment
from syncrec.serving.messages import HistoryEntry, PastItem, RecommendationsRequest
from syncrec.serving.service import Service

__all__ = ["Page"]

_NUM_ITEMS = 10
_MOST_EVENTS = 200
_MOST_LETTERS = 10_000
_ANSWERS = "/v1/recommendations"


@dataclass(frozen=True)
class Page:
    """Rendered from one template; everything that comes from outside is escaped."""

    service: Service
    metrics: Metrics
    experiment: LiveExperiment | None = None

    @cached_property
    def _template(self) -> jinja2.Template:
        text = files("syncrec.serving.http").joinpath("page.html").read_text(encoding="utf-8")
        return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(text)

    async def show(self, call: Call) -> Response:
        """The page for the user or the history in the address; without either, a form and the facts."""
        given = call.request.query_params
        user, history = given.get("user", "")[:256], given.get("history", "")[:_MOST_LETTERS]
        exclude_seen = "exclude_seen" in given
        begun, error = time.perf_counter(), ""
        tables: list[dict[str, Any]] = []
        events: Sequence[PastItem | HistoryEntry] = []
        try:
            past = _past(history)
            if user or past:
                events = past or (await self.service.history(user, _MOST_EVENTS)).events
                tables = await self._tables(user, past, exclude_seen, call.request_id)
        except SyncrecError as fault:
            error = str(fault)
        experiment = None if self.experiment is None else await asyncio.to_thread(self.experiment.view)
        nonce = secrets.token_urlsafe(16)
        text = self._template.render(
            runs=[_facts(live) for live in self.service.models.all()],
            user=user,
            history=history,
            exclude_seen=exclude_seen,
            events=events[-_MOST_EVENTS:],
            tables=tables,
            error=error,
            experiment=experiment and _of_experiment(experiment),
            latencies=[self.metrics.latency(_ANSWERS, quantile) for quantile in (0.5, 0.99)],
            ms=(time.perf_counter() - begun) * 1000,
            nonce=nonce,
        )
        return Response(text, media_type="text/html; charset=utf-8", headers=_headers(nonce))

    async def _tables(
        self, user: str, past: list[PastItem], exclude_seen: bool, request_id: str
    ) -> list[dict[str, Any]]:
        """One table a domain, with a column for each run and answer."""
        questions = [
            RecommendationsRequest(
                domain=domain,
                k=_NUM_ITEMS,
                user=user or None,
                history=past or None,
                answer=answer,  # type: ignore[arg-type]
                exclude_seen=exclude_seen,
                run=live.name,
            )
            for live in self.service.models.all()
            for domain in live.dataset.domains
            for answer in live.answers
        ]
        answers = await self.service.recommend(questions, request_id)
        tables: dict[str, list[dict[str, Any]]] = {}
        for answer in answers:
            column = {"title": f"{answer.run}: {answer.answer}", "items": answer.items}
            tables.setdefault(answer.domain, []).append(column)
        return [{"domain": domain, "columns": columns} for domain, columns in tables.items()]


def _past(text: str) -> list[PastItem]:
    """`domain:item` one a line, or separated by commas."""
    parts = [part.strip() for line in text.splitlines() for part in line.split(",") if part.strip()]
    if wrong := [part for part in parts if not all(part.partition(":"))]:
        raise ConfigError(f"a history is domain:item, one a line; got {wrong[0][:60]!r}")
    return [PastItem(domain=part.partition(":")[0], item=part.partition(":")[2]) for part in parts]


def _of_experiment(view: ExperimentView) -> dict[str, Any]:
    report = view.report
    made = datetime.fromtimestamp(view.made_at, UTC).strftime("%H:%M:%S UTC")
    facts: dict[str, Any] = {"name": view.name, "state": view.state, "problem": view.problem, "made": made}
    if report is None:
        return facts | {"chart": None, "alarms": [], "notes": [], "tables": []}
    return facts | {
        "chart": ctr_chart(report.days),
        "size": {"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT},
        "alarms": list(alarms(report)),
        "notes": list(notes(report)),
        "tables": report_tables(report),
    }


def _facts(live: LiveModel) -> dict[str, Any]:
    weights = live.fusion_weights or [None] * live.dataset.num_domains
    sizes = [len(ids) for ids in live.index.ids]
    return {
        "name": live.name,
        "version": live.version,
        "model": live.model_name,
        "epoch": live.epoch + 1,
        "age_h": live.age_s / 3600,
        "users": live.dataset.num_users,
        "domains": list(zip(live.dataset.domains, sizes, weights, strict=True)),
        "some_users": [live.dataset.users[place] for place in range(min(20, live.dataset.num_users))],
    }


def _headers(nonce: str) -> dict[str, str]:
    allowed = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action 'self'"
    return {
        "Content-Security-Policy": f"{allowed}; base-uri 'none'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
