"""Questions and events in, answers out: what the service does, whatever carries it."""

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from syncrec.answers import Answer
from syncrec.errors import BusyError, ConfigError, StoreError
from syncrec.serving.arms import ArmChooser, Choice
from syncrec.serving.grouping import GroupingThread
from syncrec.serving.histories import merged_entries
from syncrec.serving.live import Known, LiveModel
from syncrec.serving.messages import (
    EventMessage,
    EventsAnswer,
    HistoryAnswer,
    HistoryEntry,
    Range,
    RecommendationsAnswer,
    RecommendationsRequest,
    RecommendedItem,
)
from syncrec.serving.questions import Answered, Filter, NumberRange, Past, Question
from syncrec.serving.registry import ModelRegistry
from syncrec.serving.request_log import RequestLog
from syncrec.serving.settings import ServiceSettings
from syncrec.serving.store.events import EventStore
from syncrec.serving.store.schema import Event, HistoryEvent, RequestRecord
from syncrec.serving.store.writer import EventWriter

__all__ = ["Observer", "Service", "Silent"]

_MOST_LOOKS = 3  # at a user's stored history, each four times as far back, where a run knows few of the items


class Observer(Protocol):
    """Is told what happens, to count it."""

    def answered(self, arm: str, question: Question, answer: Answered) -> None:
        """One answer was given."""

    def committed(self, seconds: float, num_events: int) -> None:
        """Events were made durable."""

    def grouped(self, seconds: float, num_questions: int) -> None:
        """The model answered a group of questions."""


class Silent:
    """Nobody counts."""

    def answered(self, arm: str, question: Question, answer: Answered) -> None:
        """Nothing."""

    def committed(self, seconds: float, num_events: int) -> None:
        """Nothing."""

    def grouped(self, seconds: float, num_questions: int) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that was checked, and who answers it."""

    question: Question
    live: LiveModel
    arm: str | None


class Service:
    """The models, the store, and the two threads that work for them; made and closed beside an event loop."""

    def __init__(
        self,
        models: ModelRegistry,
        store: EventStore,
        chooser: ArmChooser,
        settings: ServiceSettings,
        observer: Observer,
        requests: RequestLog | None = None,
    ) -> None:
        self.models, self.store, self.settings = models, store, settings
        self._chooser, self._observer, self._requests = chooser, observer, requests
        self.writer = EventWriter(store, observer.committed)
        self._thread: GroupingThread[_Asked, Answered] = GroupingThread(
            "model",
            self._answer,
            group_size=settings.group_size,
            most_waiting=settings.most_waiting,
            is_shared=lambda error: isinstance(error, StoreError),
        )

    async def recommend(
        self, requests: Sequence[RecommendationsRequest], request_id: str
    ) -> list[RecommendationsAnswer]:
        """One answer a request.

        Raises:
            UnknownDomainError, ConfigError: a request cannot be answered, or is above a limit.
            StoreError, BusyError: none is answered now.
        """
        asked, begun = [self._check(request) for request in requests], time.perf_counter()
        try:
            found = await self._thread.submit(asked)
        except Exception as error:
            status = 503 if isinstance(error, StoreError | BusyError) else 500
            self._record(asked, request_id, begun, [0] * len(asked), status)
            raise
        self._record(asked, request_id, begun, [len(answer.items) for answer in found], 200)
        for entry, answer in zip(asked, found, strict=True):
            self._observer.answered(entry.arm or "", entry.question, answer)
        return [_answer_message(entry, answer, request_id) for entry, answer in zip(asked, found, strict=True)]

    def _record(
        self, asked: Sequence[_Asked], request_id: str, begun: float, nums_items: Sequence[int], status: int
    ) -> None:
        """Keep what became of the questions of users who are in an arm, if it is to be kept."""
        if self._requests is None:
            return
        ms, now = 1000 * (time.perf_counter() - begun), int(time.time())
        for entry, num_items in zip(asked, nums_items, strict=True):
            user, domain = entry.question.user, entry.question.domain
            if user is not None and entry.arm is not None:
                record = RequestRecord(request_id, user, domain, now, entry.arm, ms, num_items, status)
                self._requests.add(record)

    async def probe(self, live: LiveModel) -> None:
        """Ask `live` on the way that every question goes."""
        domains = live.dataset.domains
        await self._thread.submit([_Asked(Question(domain, 1, history=()), live, None) for domain in domains])

    async def add_events(self, messages: Sequence[EventMessage]) -> EventsAnswer:
        """Store events; they are durable on return.

        Raises:
            ConfigError: too many, one is in the future, or its item is one of another domain.
            StoreError, BusyError: none is stored.
        """
        self._check_limit("events", len(messages), self.settings.max_events)
        now = int(time.time())
        events = [self._event(message, now) for message in messages]
        added = await self.writer.add(events)
        return EventsAnswer(added.stored, added.duplicates, [event.event_id for event in events])

    async def history(self, user: str, limit: int) -> HistoryAnswer:
        """The last `limit` events of a user, those of the dataset of the user's arm and of the store."""
        live = self.models.get(self._chooser.choose(user).run)
        stored = (await asyncio.to_thread(self.store.histories, [user], limit))[0]
        entries = [HistoryEntry(*entry) for entry in merged_entries(live.index, live.dataset, user, stored, limit)]
        return HistoryAnswer(user, bool(entries), entries)

    def close(self) -> None:
        """Finish what was begun, then let go of the store; not to be called from the event loop's thread."""
        self._thread.close()
        self.writer.close()
        self.store.close()

    def _check(self, request: RecommendationsRequest) -> _Asked:
        settings = self.settings
        self._check_limit("k", request.k, settings.max_k)
        self._check_limit("history", len(request.history or ()), settings.max_history)
        for name, listed in [("allow", request.allow or ()), ("deny", request.deny), *_values(request.filters)]:
            self._check_limit(name, len(listed), settings.max_listed)
        if request.user is None and request.history is None:
            raise ConfigError("give user, or history ([] for none), or both")
        choice = self._chooser.choose(request.user) if request.run is None else Choice(request.run)
        live = self.models.get(choice.run)
        question = _question(request, choice.answer or request.answer)
        live.check(question)
        return _Asked(question, live, choice.arm)

    def _check_limit(self, name: str, value: int, limit: int) -> None:
        if value > limit:
            raise ConfigError(f"{name} may be {limit} at most, got {value}")

    def _event(self, message: EventMessage, now: int) -> Event:
        when = now if message.timestamp is None else message.timestamp
        if when > now + self.settings.max_future_s:
            raise ConfigError(f"timestamp {when} is in the future; it is {now} now, in unix seconds")
        self._check_domain(message)
        return Event(
            message.event_id or uuid.uuid4().hex,
            message.kind,
            message.user,
            message.domain,
            message.item,
            when,
            message.request_id,
            message.arm or self._chooser.choose(message.user).arm,
            message.position,
            message.propensity,
        )

    def _check_domain(self, message: EventMessage) -> None:
        """An item belongs to one domain; new items and new domains are welcome."""
        for live in self.models.all():
            if live.index.item(message.domain, message.item) is not None:
                return
        for live in self.models.all():
            if (domain := live.index.domain_with(message.item)) is not None:
                raise ConfigError(f"item {message.item!r} is one of {domain!r}, not of {message.domain!r}")

    def _answer(self, group: Sequence[_Asked]) -> list[Answered]:
        """Runs in the model's thread."""
        begun = time.perf_counter()
        known = self._known(group)
        answers: dict[int, Answered] = {}
        for live in {id(asked.live): asked.live for asked in group}.values():
            rows = [row for row, asked in enumerate(group) if asked.live is live]
            found = live.answer([group[row].question for row in rows], [known[row] for row in rows])
            answers.update(zip(rows, found, strict=True))
        self._observer.grouped(time.perf_counter() - begun, len(group))
        return [answers[row] for row in range(len(group))]

    def _known(self, group: Sequence[_Asked]) -> list[Known]:
        """What the store knows for each question that is about a user."""
        users = list(
            {a.question.user: None for a in group if a.question.history is None and a.question.user is not None}
        )
        histories: dict[str, Sequence[HistoryEvent]] = {}
        limit, missing = max(asked.live.max_length for asked in group), users
        live_of = {asked.question.user: asked.live for asked in group}
        for _ in range(_MOST_LOOKS):
            if not missing:
                break
            histories.update(zip(missing, self.store.histories(missing, limit), strict=True))
            missing = [user for user in missing if live_of[user].wants_older(histories[user], limit)]
            limit *= 4
        return [self._known_for(asked.question, histories) for asked in group]

    def _known_for(self, question: Question, histories: Mapping[str, Sequence[HistoryEvent]]) -> Known:
        if question.history is not None or question.user is None:
            return Known()
        events = histories[question.user]
        is_asked = question.exclude_seen and events
        seen = self.store.seen(question.user, question.domain) if is_asked else set()
        return Known(events, frozenset(seen))


def _values(filters: Mapping[str, list[str] | Range]) -> list[tuple[str, list[str]]]:
    return [(f"filters.{name}", wanted) for name, wanted in filters.items() if isinstance(wanted, list)]


def _question(request: RecommendationsRequest, answer: Answer) -> Question:
    history = request.history
    return Question(
        request.domain,
        request.k,
        request.user,
        None if history is None else tuple(Past(past.domain, past.item, past.timestamp) for past in history),
        answer,
        request.exclude_seen,
        None if request.allow is None else frozenset(request.allow),
        frozenset(request.deny),
        {name: _filter(wanted) for name, wanted in request.filters.items()},
    )


def _filter(wanted: list[str] | Range) -> Filter:
    if isinstance(wanted, list):
        return frozenset(wanted)
    low = float("-inf") if wanted.min is None else wanted.min
    high = float("inf") if wanted.max is None else wanted.max
    return NumberRange(low, high)


def _answer_message(asked: _Asked, answer: Answered, request_id: str) -> RecommendationsAnswer:
    return RecommendationsAnswer(
        request_id=request_id,
        domain=asked.question.domain,
        answer=asked.question.answer,
        items=[RecommendedItem(item, score) for item, score in zip(answer.items, answer.scores, strict=True)],
        run=asked.live.name,
        model_version=asked.live.version,
        arm=asked.arm,
        known_user=answer.is_known_user,
        unknown_items=answer.num_unknown_items,
    )
