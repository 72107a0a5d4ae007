"""The best k items of a domain for a history."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from syncrec.answers import Answer
from syncrec.data.dataset import Dataset
from syncrec.data.packing import history_batch
from syncrec.errors import ArtifactError, ConfigError
from syncrec.models.interface import HistoryEncoder
from syncrec.models.scoring import all_item_vectors, encode_packed, fuse
from syncrec.runs import TrainedModel

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "BATCH_USERS",
    "History",
    "Recommendation",
    "Recommender",
    "recommendation_table",
    "write_recommendations",
]

BATCH_USERS = 512
Ints = npt.NDArray[np.int64]
History = tuple[Ints, Ints]  # items and times


@dataclass(frozen=True)
class Recommendation:
    """An item of the domain asked, best first; a higher score is better, scores of one answer compare."""

    rank: int
    item: str
    score: float


class Recommender:
    """Answers from a trained model; `dataset` supplies ids and the histories of known users.

    A history without events of the domain is fine (the other domains speak), an empty one gets what the start token
    says. Only the last T events of a history count. A history without times is taken to be of the newest time in the
    dataset. `encoder`, that of the model's `frozen`, answers in its place: faster for few questions, slower for many.
    """

    def __init__(self, trained: TrainedModel, dataset: Dataset, encoder: HistoryEncoder | None = None) -> None:
        self.dataset = dataset
        self._encoder = encoder
        self._model = trained.model
        self._weights = np.asarray(trained.fusion_weights or [0.0] * dataset.num_domains, dtype=np.float32)
        self._packer = trained.model.packer()
        self.items = all_item_vectors(trained.model)

    def for_history(
        self,
        history: Sequence[tuple[str, str]],
        domain: str,
        k: int,
        *,
        answer: Answer = "fused",
        exclude_seen: bool = False,
        times: Sequence[int] | None = None,
    ) -> list[Recommendation]:
        """The best `k` items of `domain` after `history`, pairs (domain, item) in time order.

        Args:
            history: what the user did.
            domain: what is asked for.
            k: how many items at most.
            answer: which of the model's answers.
            exclude_seen: leave out items of the history.
            times: of the events, unix seconds, ascending.

        Raises:
            UnknownDomainError, UnknownItemError: a name is not in the dataset.
            ConfigError: `k` is below 1, the model has no such answer, or `times` are not as many as events.
        """
        if times is not None and len(times) != len(history):
            raise ConfigError(f"times must be one for each event of the history ({len(history)}), got {len(times)}")
        events = np.asarray([self.dataset.item_index(d, item) for d, item in history], dtype=np.int64)
        known = np.full(len(events), self._newest) if times is None else np.asarray(times, dtype=np.int64)
        return self._one((events, known), domain, k, answer, exclude_seen)

    def for_user(
        self, user: str, domain: str, k: int, *, answer: Answer = "fused", exclude_seen: bool = False
    ) -> list[Recommendation]:
        """The best `k` items of `domain` after everything that `user` did in the dataset.

        Raises:
            UnknownUserError, UnknownDomainError: a name is not in the dataset.
            ConfigError: `k` is below 1, or the model has no such answer.
        """
        return self._one(self.history_of(self.dataset.user_index(user)), domain, k, answer, exclude_seen)

    def _one(self, history: History, domain: str, k: int, answer: Answer, exclude_seen: bool) -> list[Recommendation]:
        number = self.dataset.domain_index(domain)
        items, scores = self._best([history], number, k, answer, exclude_seen)
        found = [(int(i), float(s)) for i, s in zip(items[0], scores[0], strict=True) if np.isfinite(s)]
        ids = self.dataset.item_tables[number]
        return [Recommendation(rank, ids[item], score) for rank, (item, score) in enumerate(found, start=1)]

    def for_all_users(
        self,
        domain: str,
        k: int,
        *,
        answer: Answer = "fused",
        exclude_seen: bool = False,
        batch_size: int = BATCH_USERS,
        users: range | None = None,
    ) -> Iterator[tuple[Ints, Ints, npt.NDArray[np.float32]]]:
        """(user numbers [b], items inside the domain [b, k], scores [b, k]) in batches; -inf marks "no item left".

        `users` are consecutive numbers, by default all. Scores of the same batch are the same to the bit; a user in
        another batch may get others in the last digit.
        """
        number, asked = self.dataset.domain_index(domain), users or range(self.dataset.num_users)
        for start in range(asked.start, asked.stop, batch_size):
            batch = np.arange(start, min(start + batch_size, asked.stop))
            yield batch, *self._best([self.history_of(int(u)) for u in batch], number, k, answer, exclude_seen)

    def history_of(self, user: int) -> History:
        """Everything that the user with this number did in the dataset."""
        start, stop = self.dataset.user_offsets[user : user + 2]
        return self.dataset.items[start:stop].astype(np.int64), self.dataset.timestamps[start:stop]

    @cached_property
    def _newest(self) -> int:
        return int(np.max(self.dataset.timestamps, initial=0))

    def _best(
        self, histories: list[History], domain: int, k: int, answer: Answer, exclude_seen: bool
    ) -> tuple[Ints, npt.NDArray[np.float32]]:
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}")
        answers = self.vectors(histories, np.full(len(histories), domain, dtype=np.int64))
        if answer not in answers:
            raise ConfigError(f"the model has no answer {answer!r}; it has {', '.join(answers)}")
        start, stop = self.dataset.item_range(domain)
        scores = answers[answer] @ self.items[start:stop].T
        if exclude_seen:
            _hide_seen(scores, [history[0] for history in histories], start, stop)
        best = scores.topk(min(k, stop - start), dim=1)
        return best.indices.cpu().numpy(), best.values.cpu().numpy()

    def vectors(self, histories: Sequence[History], domains: Ints) -> dict[str, Tensor]:
        """What to multiply with `items`: the fused answer, then each of the model's own, [N, dim] each.

        Args:
            histories: items and times of each question.
            domains: the domain number of each question [N].
        """
        if self._encoder is not None:
            return self._frozen_vectors(self._encoder, histories, domains)
        packed = history_batch(self._packer, [h[0] for h in histories], domains, [h[1] for h in histories])
        answers = encode_packed(self._model, packed)
        for name, found in answers.items():
            answers[name] = torch.empty_like(found)
            answers[name][torch.as_tensor(packed.order, device=found.device)] = found
        fused = fuse(answers, self._weights.tolist(), domains) if len(answers) > 1 else next(iter(answers.values()))
        return {"fused": fused, **answers}

    def _frozen_vectors(
        self, encoder: HistoryEncoder, histories: Sequence[History], domains: Ints
    ) -> dict[str, Tensor]:
        """The same without torch."""
        answers = encoder.encode(histories, domains)
        fused = next(iter(answers.values()))
        if len(answers) > 1:
            weights = self._weights[domains, None]
            fused = (1 - weights) * answers["cross"] + weights * answers["single"]
        own: dict[str, Tensor] = {name: torch.from_numpy(found) for name, found in answers.items()}
        return {"fused": torch.from_numpy(fused), **own}


def _hide_seen(scores: Tensor, histories: list[Ints], start: int, stop: int) -> None:
    lengths = [len(history) for history in histories]
    rows = np.repeat(np.arange(len(histories)), lengths)
    events = np.concatenate(histories)
    is_here = (events >= start) & (events < stop)
    scores[torch.as_tensor(rows[is_here]), torch.as_tensor(events[is_here] - start)] = -torch.inf


def write_recommendations(
    path: Path, dataset: Dataset, domain: str, batches: Iterable[tuple[Ints, Ints, npt.NDArray[np.float32]]]
) -> int:
    """Write (user, rank, item, score) of all `batches` as one Parquet file, in one rename; gives the rows written.

    Users are in ascending order.

    Raises:
        ArtifactError: `path` cannot be written; this is known before the first batch is computed.
    """
    from syncrec import artifacts

    with artifacts.replaced_file(path) as place:
        frame = recommendation_table(dataset, dataset.domain_index(domain), batches)
        with parquet_errors(path):
            frame.write_parquet(place)
    return len(frame)


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turns what goes wrong while Polars writes `path` into one line.

    Raises:
        ArtifactError: the disk is full, say.
    """
    from polars.exceptions import PolarsError

    try:
        yield
    except PolarsError as error:
        raise ArtifactError(f"{path}: cannot be written: {str(error).splitlines()[0]}") from None


def recommendation_table(
    dataset: Dataset, domain: int, batches: Iterable[tuple[Ints, Ints, npt.NDArray[np.float32]]]
) -> "pl.DataFrame":
    """(user, rank, item, score), a row for each item; `batches` as in `Recommender.for_all_users`, at least one."""
    import polars as pl

    users, items, scores = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    is_item = np.isfinite(scores)
    rows, ranks = np.nonzero(is_item)
    first, last = int(users[0]), int(users[-1])
    user_ids = pl.Series(list(dataset.users.between(first, last + 1)), dtype=pl.String)
    item_ids = pl.Series(list(dataset.item_tables[domain]), dtype=pl.String)
    return pl.DataFrame(
        {
            "user": user_ids.gather(users[rows] - first),
            "rank": (ranks + 1).astype(np.int32),
            "item": item_ids.gather(items[is_item]),
            "score": scores[is_item],
        }
    )
