"""Answers of trained models without torch, a few questions at a time; see `models.frozen_parts` for why.

Histories are rows of their own, padded to the longest: with few questions there is nothing to gain by packing.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from syncrec.models.domain_network import DomainNetwork
from syncrec.models.frozen_parts import (
    SHORTEST,
    FrozenEmbedding,
    FrozenExperts,
    FrozenGates,
    FrozenSimilarity,
    FrozenTowers,
    HistoryRows,
)
from syncrec.models.interface import AnswerName, SequentialModel
from syncrec.nn.mixture import ExpertMixture, TaskTowers
from syncrec.nn.packed import CausalTransformer

__all__ = ["FrozenMixture", "FrozenTransformer"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
_Segment = tuple[int, int, Ints, Ints, Ints]  # code and domain of the start token; items, domains and times of events


class FrozenTransformer:
    """A model of one Transformer of one layer over the hybrid history."""

    def __init__(self, model: SequentialModel, encoder: CausalTransformer) -> None:
        self._segments, self._queries = _Segments(model), _Queries(model)
        self._embedding, self._experts = FrozenEmbedding.of(model.embedding), FrozenExperts([encoder])

    def encode(self, histories: Sequence[tuple[Ints, Ints]], domains: Ints) -> dict[AnswerName, Floats]:
        """As `HistoryEncoder.encode`."""
        rows = _rows(self._segments.cross(histories, domains))
        found = self._experts(self._embedding(rows), rows.last)[0]
        return {"cross": self._queries(found, rows, np.zeros_like(domains))}


class FrozenMixture:
    """A model of experts of one layer over both views, gates and towers (M3)-(M6), and networks of lone domains."""

    def __init__(
        self,
        model: SequentialModel,
        mixture: ExpertMixture,
        towers: TaskTowers,
        lone: Mapping[int, DomainNetwork],
    ) -> None:
        self._segments, self._queries = _Segments(model), _Queries(model)
        self._embedding = FrozenEmbedding.of(model.embedding)
        self._experts = FrozenExperts(list(mixture.experts))  # type: ignore[arg-type]
        self._gates, self._towers = FrozenGates(mixture), FrozenTowers(towers)
        self._is_alone, self._dim = model.catalogue.is_alone, model.config.dim
        items = model.embedding.items.weight
        self._lone = {
            domain: (FrozenEmbedding(items, own.positions, own.norm, own.time), FrozenExperts([own.encoder]))
            for domain, own in lone.items()
        }

    def encode(self, histories: Sequence[tuple[Ints, Ints]], domains: Ints) -> dict[AnswerName, Floats]:
        """As `HistoryEncoder.encode`; rows of the cross view come first."""
        cross = self._segments.cross(histories, domains)
        single = [self._segments.single(c, domain) for c, domain in zip(cross, domains.tolist(), strict=True)]
        rows = _rows([*cross, *single])
        tasks = np.concatenate([np.zeros_like(domains), domains + 1])
        is_alone = np.tile(self._is_alone[domains], 2)
        answers = self._queries(self._towers(self._hidden(rows, tasks, is_alone), tasks), rows, tasks)
        cross_answers, own = np.split(answers, 2)
        return {"cross": np.where(self._is_alone[domains, None], own, cross_answers), "single": own}

    def _hidden(self, rows: HistoryRows, tasks: Ints, is_alone: npt.NDArray[np.bool_]) -> Floats:
        """What the towers map, [R, dim]: zeros in the cross view of a lone domain, whose answer is the single one."""
        if not is_alone.any():
            return self._mixed(rows, tasks)
        hidden = np.zeros((len(tasks), self._dim), dtype=np.float32)
        shared = np.flatnonzero(~is_alone)
        if len(shared):
            hidden[shared] = self._mixed(rows.take(shared), tasks[shared])
        for domain, (embedding, experts) in self._lone.items():
            own = np.flatnonzero(tasks == domain + 1)
            if len(own):
                asked = rows.take(own)
                hidden[own] = experts(embedding(asked), asked.last)[0]
        return hidden

    def _mixed(self, rows: HistoryRows, tasks: Ints) -> Floats:
        """h of (M5), [R, dim]."""
        embedding = self._embedding(rows)
        weights = self._gates(embedding[np.arange(len(tasks)), rows.last], tasks)
        outputs = self._experts(embedding, rows.last).transpose(1, 0, 2)
        found: Floats = np.matmul(weights[:, None], outputs)[:, 0]
        return found


class _Segments:
    """What either view has of a history."""

    def __init__(self, model: SequentialModel) -> None:
        self._offsets = np.asarray(model.catalogue.offsets, dtype=np.int64)
        self._num_items, self._num_domains = model.catalogue.num_items, model.catalogue.num_domains
        self._length, self._community_of = model.config.max_length, model.catalogue.community_of
        self._is_known = model.known_items

    def cross(self, histories: Sequence[tuple[Ints, Ints]], asked: Ints) -> list[_Segment]:
        """The last T events of each history, of these what is known and the community of `asked` [N] has."""
        return [self._cross(*history, number) for history, number in zip(histories, asked.tolist(), strict=True)]

    def _cross(self, items: Ints, times: Ints, asked: int) -> _Segment:
        items, times = items[-self._length :], times[-self._length :]
        domains = self._offsets.searchsorted(items, side="right") - 1
        is_read = self._community_of[domains] == self._community_of[asked]
        if self._is_known is not None:
            is_read &= self._is_known[items]
        return self._num_items, self._num_domains, items[is_read], domains[is_read], times[is_read]

    def single(self, cross: _Segment, domain: int) -> _Segment:
        """Those of `cross` in `domain`."""
        items, domains, times = cross[2:]
        is_here = domains == domain
        return self._num_items + 1 + domain, domain, items[is_here], domains[is_here], times[is_here]


def _rows(segments: Sequence[_Segment]) -> HistoryRows:
    lengths = [len(segment[2]) for segment in segments]
    tokens, domains, times = np.zeros((3, len(segments), max(lengths) + 1), dtype=np.int64)
    for row, ((code, domain, *events), length) in enumerate(zip(segments, lengths, strict=True)):
        tokens[row, 0], domains[row, 0] = code, domain
        for array, values in zip((tokens, domains, times), events, strict=True):
            array[row, 1 : length + 1] = values
    return HistoryRows(tokens, domains, times, np.asarray(lengths, dtype=np.int64))


class _Queries:
    """`SequentialModel.query_vectors`, of answers with their similarity to the history where the model adds it."""

    def __init__(self, model: SequentialModel) -> None:
        is_dot = model.config.score == "dot"
        self._temperature = None if is_dot else np.float32(model.config.temperature)
        self._similarity = None
        if model.similarity is not None:
            self._similarity = FrozenSimilarity(
                model.similarity, model.embedding, model.answer_size, of_unit=not is_dot
            )

    def __call__(self, encoded: Floats, rows: HistoryRows, tasks: Ints) -> Floats:
        if self._similarity is not None:
            encoded = encoded + self._similarity(rows, tasks)
        if self._temperature is None:
            return encoded
        lengths = np.sqrt(np.einsum("ni,ni->n", encoded, encoded))
        out: Floats = encoded / (np.maximum(lengths, SHORTEST) * self._temperature)[:, None]
        return out
