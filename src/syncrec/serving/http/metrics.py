"""What Prometheus reads; with several workers the numbers of all of them together."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from syncrec.serving.questions import Answered, Question
from syncrec.serving.service import Service

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 512, 2048)


class Metrics:
    """Counters and histograms of one process; `PROMETHEUS_MULTIPROC_DIR` is where several put them together."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Histogram(
            "syncrec_request_seconds",
            "Time of a request, from its first byte to the answer",
            ["route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._answers = Counter(
            "syncrec_answers", "Answers by arm, domain and kind", ["arm", "domain", "answer"], registry=registry
        )
        self._unknown_users = Counter(
            "syncrec_unknown_users", "Answers for a user of whom nothing is known", ["domain"], registry=registry
        )
        self._unknown_items = Counter(
            "syncrec_unknown_items", "Items of histories and lists that the run does not know", registry=registry
        )
        self._events = Counter("syncrec_events", "Events made durable, repeated ones included", registry=registry)
        self._commits = Histogram(
            "syncrec_store_commit_seconds", "Time of a transaction of events", buckets=_SECONDS, registry=registry
        )
        self._groups = Histogram(
            "syncrec_model_group_size", "Questions answered together", buckets=_SIZES, registry=registry
        )
        self._model = Histogram(
            "syncrec_model_seconds", "Time of such a group, histories included", buckets=_SECONDS, registry=registry
        )
        self._age = Gauge(
            "syncrec_model_age_seconds",
            "Since the run was trained",
            ["run"],
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        self._lag = Gauge(
            "syncrec_store_lag_seconds",
            "For how long the oldest event waits that is being written",
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    def requested(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).observe(seconds)

    def answered(self, arm: str, question: Question, answer: Answered) -> None:
        """One answer was given."""
        self._answers.labels(arm, question.domain, question.answer).inc()
        if question.user is not None and not answer.is_known_user:
            self._unknown_users.labels(question.domain).inc()
        if answer.num_unknown_items:
            self._unknown_items.inc(answer.num_unknown_items)

    def committed(self, seconds: float, num_events: int) -> None:
        """Events were made durable."""
        self._commits.observe(seconds)
        self._events.inc(num_events)

    def grouped(self, seconds: float, num_questions: int) -> None:
        """The model answered a group of questions."""
        self._model.observe(seconds)
        self._groups.observe(num_questions)

    def latency(self, route: str, quantile: float) -> tuple[int, float]:
        """How many requests of `route` this process answered, and a bound that a share `quantile` of them kept (s).

        The bound is that of a bucket, so the true one is at most as high; infinite above the last, 0 without requests.
        """
        counts = dict.fromkeys((*map(str, map(float, _SECONDS)), "+Inf"), 0.0)
        for metric in self._requests.collect():
            for sample in metric.samples:
                if sample.name.endswith("_bucket") and sample.labels["route"] == route:
                    counts[sample.labels["le"]] += sample.value
        total = counts["+Inf"]
        enough = (float(bound) for bound, count in counts.items() if count >= quantile * total)
        return int(total), next(enough) if total else 0.0

    def text(self, service: Service) -> bytes:
        """All of it, in Prometheus' format."""
        for live in service.models.all():
            self._age.labels(live.name).set(live.age_s)
        self._lag.set(service.writer.lag_s)
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
