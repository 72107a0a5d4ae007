"""A run that is being served: opened, checked, and answering many questions at a time."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syncrec.artifacts import file_checksum
from syncrec.data.dataset import Dataset
from syncrec.errors import CheckpointError, ConfigError
from syncrec.runs import BEST_NAME, REFIT_NAME, RunDirectory
from syncrec.serving.histories import CatalogueIndex, UserHistory, explicit_history, merged_history
from syncrec.serving.item_table import DomainAttributes, ItemTable
from syncrec.serving.questions import Answered, Question
from syncrec.serving.recommender import Recommender
from syncrec.serving.retrieval import ApproximateRetrieval, ExactRetrieval, Excluded, Measured, Retrieval, load_index
from syncrec.serving.store.schema import HistoryEvent

__all__ = ["Indices", "Known", "LiveModel"]

_NUM_ASKED = 200  # users whose questions measure an index
_NO_EVENTS: Sequence[HistoryEvent] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows for one question: the user's last events, and all items of the domain if they are asked."""

    events: Sequence[HistoryEvent] = _NO_EVENTS
    seen: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Indices:
    """Domains of at least `from_items` items are searched by an index, which is kept in `folder`."""

    from_items: int
    folder: Path


class LiveModel:
    """A trained run with its dataset in memory; its answers do not depend on what else is asked in the same batch.

    Raises:
        SyncrecError: the run or its dataset is missing, damaged, unfinished or does not fit.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        dataset: Path | None = None,
        items: ItemTable | None = None,
        indices: Indices | None = None,
    ) -> None:
        self.name, self.path = name, path
        directory = RunDirectory.open(path)
        self.dataset: Dataset = directory.dataset(dataset)
        trained = directory.trained_model(torch.device("cpu"))
        checkpoint = path / (REFIT_NAME if directory.config.training.refit != "none" else "") / BEST_NAME
        self.version = f"{name}@{file_checksum(checkpoint)[:12]}"
        self.trained_at = checkpoint.stat().st_mtime
        self.model_name = directory.config.model.name
        self.epoch = trained.epoch
        self.fusion_weights = trained.fusion_weights
        self.max_length = trained.model.config.max_length
        self.answers = ("fused", *trained.model.answer_names)
        self.index = CatalogueIndex(self.dataset)
        self._recommender = Recommender(trained, self.dataset, trained.model.frozen())
        self._newest = int(np.max(self.dataset.timestamps, initial=0))
        self._attributes = _attributes(self.dataset, self.index, items)
        self._retrieval = [self._retrieval_of(number, indices) for number in range(self.dataset.num_domains)]

    @property
    def measured(self) -> dict[str, Measured]:
        """How the index of every domain does that has one."""
        found = zip(self.dataset.domains, self._retrieval, strict=True)
        return {domain: way.measured for domain, way in found if isinstance(way, ApproximateRetrieval)}

    def _retrieval_of(self, number: int, indices: Indices | None) -> Retrieval:
        start, stop = self.dataset.item_range(number)
        items = self._recommender.items[start:stop]
        if indices is None or len(items) < indices.from_items:
            return ExactRetrieval(items)
        index = load_index(items, indices.folder / f"{self.version}-{number}.index")
        users = np.linspace(0, self.dataset.num_users - 1, num=min(_NUM_ASKED, self.dataset.num_users), dtype=np.int64)
        histories = [self._recommender.history_of(user) for user in users.tolist()]
        asked = self._recommender.vectors(histories, np.full(len(users), number, dtype=np.int64))
        return ApproximateRetrieval(items, index, asked["fused"])

    @property
    def age_s(self) -> float:
        """Seconds since it was trained."""
        return time.time() - self.trained_at

    def check(self, question: Question) -> None:
        """See that the question can be answered.

        Raises:
            UnknownDomainError: no such domain, with the nearest names.
            ConfigError: `k` is below 1, no such answer, or a filter that does not fit the item table.
        """
        number = self.dataset.domain_index(question.domain)
        if question.k < 1:
            raise ConfigError(f"k must be at least 1, got {question.k}")
        if question.answer not in self.answers:
            raise ConfigError(f"run {self.name} has no answer {question.answer!r}; it has {', '.join(self.answers)}")
        for name, wanted in question.filters.items():
            self._attributes[number].mask({name: wanted})

    def probe(self) -> None:
        """Ask every answer of every domain for a user without history.

        Raises:
            CheckpointError: an answer is not what it must be: finite scores, best first, of as many items as asked.
        """
        for answer in self.answers:
            questions = [Question(domain, 3, history=(), answer=answer) for domain in self.dataset.domains]  # type: ignore[arg-type]
            for question, found in zip(questions, self.answer(questions, [Known()] * len(questions)), strict=True):
                wanted = min(3, len(self.index.ids[self.index.number_of[question.domain]]))
                if len(found.items) != wanted or found.scores != sorted(found.scores, reverse=True):
                    raise CheckpointError(
                        f"{self.path}: the {answer} answer in {question.domain} has {len(found.items)} finite scores, "
                        f"expected {wanted}; the run is broken, train it again"
                    )

    @torch.inference_mode()
    def answer(self, questions: Sequence[Question], known: Sequence[Known]) -> list[Answered]:
        """The answers to questions that were checked, with what the store knows for each."""
        histories = [self._history(question, what) for question, what in zip(questions, known, strict=True)]
        numbers = np.asarray([self.index.number_of[question.domain] for question in questions], dtype=np.int64)
        vectors = self._recommender.vectors([(h.items, h.times) for h in histories], numbers)
        answers: list[Answered | None] = [None] * len(questions)
        for number in set(numbers.tolist()):
            rows = np.flatnonzero(numbers == number).tolist()
            queries = torch.stack([vectors[questions[row].answer][row] for row in rows])
            masks = [self._excluded(questions[row], known[row], histories[row], number) for row in rows]
            best = self._best(queries, masks, number, [questions[row].k for row in rows])
            for row, found in zip(rows, best, strict=True):
                unknown = histories[row].num_unknown + self._num_unknown(questions[row], number)
                answers[row] = Answered(*found, unknown, histories[row].is_known)
        return [answer for answer in answers if answer is not None]

    def wants_older(self, events: Sequence[HistoryEvent], limit: int) -> bool:
        """Whether the last `limit` stored events of a user may hide older ones: too few are of items known here."""
        if len(events) < limit:
            return False
        return sum(self.index.item(event.domain, event.item) is not None for event in events) < self.max_length

    def _history(self, question: Question, known: Known) -> UserHistory:
        if question.history is not None:
            return explicit_history(self.index, question.history, self._newest)
        return merged_history(self.index, self.dataset, question.user or "", known.events, self.max_length)

    def _best(
        self, queries: Tensor, masks: Sequence[Excluded | None], number: int, ks: Sequence[int]
    ) -> Iterator[tuple[list[str], list[float]]]:
        ids, best = self.index.ids[number], self._retrieval[number].best(queries, max(ks), masks)
        for (places, scores), k in zip(best, ks, strict=True):
            yield [ids[place] for place in places[:k].tolist()], scores[:k].tolist()

    def _excluded(self, question: Question, known: Known, history: UserHistory, number: int) -> Excluded | None:
        """True at the places of items that must not be answered; None if all may be."""
        passes = self._attributes[number].mask(question.filters) if question.filters else None
        out = [] if not question.deny else self.index.places(number, question.deny)
        if question.exclude_seen:
            out += self._seen(question, known, history, number)
        if passes is None and question.allow is None and not out:
            return None
        mask = np.zeros(len(self.index.ids[number]), dtype=np.bool_) if passes is None else ~passes
        if question.allow is not None:
            others = np.ones(len(mask), dtype=np.bool_)
            others[self.index.places(number, question.allow)] = False
            mask |= others
        mask[out] = True
        return mask

    def _seen(self, question: Question, known: Known, history: UserHistory, number: int) -> list[int]:
        start, stop = self.dataset.item_range(number)
        items = history.items
        if question.history is None and (user := self.dataset.users.find(question.user or "")) is not None:
            items = np.concatenate([items, self.dataset.history(user)])
        here = items[(items >= start) & (items < stop)] - start
        return [*here.tolist(), *self.index.places(number, known.seen)]

    def _num_unknown(self, question: Question, number: int) -> int:
        named = [*(question.allow or ()), *question.deny]
        return len(named) - len(self.index.places(number, named)) if named else 0


def _attributes(dataset: Dataset, index: CatalogueIndex, items: ItemTable | None) -> list[DomainAttributes]:
    nothing: Mapping[str, npt.NDArray[np.float64]] = {}
    return [
        DomainAttributes(domain, nothing) if items is None else items.of_domain(domain, index.ids[number])
        for number, domain in enumerate(dataset.domains)
    ]
