"""What trained networks of one layer make of the end of a history, in numpy: for questions that come one by one.

A single question has so little to compute that calling an operation costs more than what it does, and torch's calls
cost several times those of numpy. And only the last slot of a history is asked, so that keys and values need not be
made: a query times the map of the keys meets the slots themselves, and the map of the values takes their weighted sum.
Parameters are copied and folded, so this is for weights that do not change any more; results equal those of the
modules up to rounding, without dropout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncrec.nn.embedding import HistoryEmbedding, PositionEmbedding, TimeEmbedding
from syncrec.nn.mixture import ExpertMixture, TaskGates, TaskTowers
from syncrec.nn.packed import CausalTransformer
from syncrec.nn.similarity import ItemSimilarity

__all__ = [
    "SHORTEST",
    "FrozenEmbedding",
    "FrozenExperts",
    "FrozenGates",
    "FrozenSimilarity",
    "FrozenTowers",
    "HistoryRows",
]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SHORTEST = np.float32(1e-12)  # what torch's `normalize` divides by at least
_EPSILON = np.float32(1e-5)  # of torch's layer normalisation
_LONGEST_GAP_S = 1 << 40
_NEVER = np.float32(-1e9)  # finite: without an event the softmax is no NaN, and multiplied by 0


@dataclass(frozen=True, slots=True)
class HistoryRows:
    """Histories, one a row, from the start token on, int64 [R, L]; codes as in `data.packing`, behind the end any.

    `last` [R] is the slot of the last token, which is asked.
    """

    tokens: Ints
    domains: Ints
    times: Ints
    last: Ints

    def take(self, rows: Ints) -> "HistoryRows":
        """The rows with these numbers."""
        return HistoryRows(self.tokens[rows], self.domains[rows], self.times[rows], self.last[rows])


class FrozenEmbedding:
    """`HistoryEmbedding` of rows, or what a `DomainNetwork` has in its place."""

    def __init__(
        self,
        items: Tensor,
        positions: PositionEmbedding,
        norm: nn.LayerNorm,
        time: TimeEmbedding | None,
        domains: Tensor | None = None,
    ) -> None:
        """`items` and `domains` are tables, [tokens, dim] and [D + 1, dim]."""
        self._items, self._domains = _array(items), None if domains is None else _array(domains)
        self._from_start, self._from_end = (
            None if table is None else _array(table.weight[: int(positions.last) + 1])
            for table in (positions.from_start, positions.from_end)
        )
        self._scale, self._shift = _array(norm.weight), _array(norm.bias)
        self._time = None if time is None else _FrozenTime(time)

    @classmethod
    def of(cls, embedding: HistoryEmbedding) -> "FrozenEmbedding":
        """The embedding that both views share."""
        tables = embedding.items.weight, embedding.domains.weight
        return cls(tables[0], embedding.positions, embedding.norm, embedding.time, tables[1])

    def __call__(self, rows: HistoryRows) -> Floats:
        """Float32 [R, L, dim]."""
        total: Floats = self._items.take(rows.tokens, axis=0)
        if self._domains is not None:
            total += self._domains.take(rows.domains, axis=0)
        self._add_positions(total, rows.last)
        if self._time is not None:
            self._time.add_to(total, rows.times)
        found = _normalised(total)
        found *= self._scale
        found += self._shift
        return found

    def _add_positions(self, total: Floats, last: Ints) -> None:
        """Add what positions say to `total` [R, L, dim], in place; behind the end anything."""
        places = np.arange(total.shape[1])
        if self._from_start is not None:
            total += self._from_start.take(np.minimum(places, len(self._from_start) - 1), axis=0)
        if self._from_end is not None:
            from_end = np.clip(last[:, None] + 1 - places, 0, len(self._from_end) - 1)
            from_end[:, 0] = 0
            total += self._from_end.take(from_end, axis=0)


class _FrozenTime:
    """`TimeEmbedding` of rows; which gap a number of seconds is, it asks the module once."""

    def __init__(self, time: TimeEmbedding) -> None:
        self._periods, self._gaps = _array(time.periods.weight), _array(time.gaps.weight)
        self._edges = time.edges.numpy()
        self._gap_edges = _first_seconds(time)

    def add_to(self, total: Floats, times: Ints) -> None:
        """Add what times [R, L] say to `total` [R, L, dim], in place."""
        periods = self._edges.searchsorted(times, side="right") + 1
        periods[:, 0] = 0
        total += self._periods.take(periods, axis=0)
        gaps = np.zeros_like(periods)
        gaps[:, 2:] = self._gap_edges.searchsorted(times[:, 2:] - times[:, 1:-1], side="right") + 1
        total += self._gaps.take(gaps, axis=0)


def _first_seconds(time: TimeEmbedding) -> Ints:
    """The first number of seconds with each gap from the second one on, found by bisection: gaps grow with time."""
    most = int(time.gap_codes(torch.tensor(_LONGEST_GAP_S)))
    codes = torch.arange(2, most + 1)
    low, high = torch.zeros_like(codes), torch.full_like(codes, _LONGEST_GAP_S)
    while bool((high - low > 1).any()):
        middle = (low + high) // 2
        is_there = time.gap_codes(middle) >= codes
        low, high = torch.where(is_there, low, middle), torch.where(is_there, middle, high)
    return high.numpy()


class FrozenExperts:
    """`experts`, each with one layer, at the last slots, all in one pass.

    Raises:
        ValueError: one has several layers.
    """

    def __init__(self, experts: Sequence[CausalTransformer]) -> None:
        if any(len(expert.blocks) != 1 for expert in experts):
            raise ValueError("experts of one layer can be frozen, no others")
        blocks: list[Any] = [expert.blocks[0] for expert in experts]
        self._num_heads, dim = blocks[0].num_heads, blocks[0].attention_out.in_features
        folded = [_folded(block.attention_norm, block.query_key_value) for block in blocks]
        query, key, value = (torch.stack([w[i * dim : (i + 1) * dim] for w, _ in folded]) for i in range(3))
        query_bias, value_bias = (torch.stack([b[i * dim : (i + 1) * dim] for _, b in folded]) for i in (0, 2))
        scale = (dim // self._num_heads) ** -0.5
        self._query = _array((scale * query).flatten(0, 1).T), _array((scale * query_bias).flatten())
        self._key = _array(key.view(len(blocks) * self._num_heads, -1, dim))
        self._value = _array(value.view(len(blocks) * self._num_heads, -1, dim).transpose(1, 2))
        outs = [(b.attention_out.weight, b.attention_out.bias) for b in blocks]
        self._out = _stacked(
            [(weight, bias + weight @ own) for (weight, bias), own in zip(outs, value_bias, strict=True)]
        )
        self._inner = _stacked([_folded(b.feedforward_norm, b.feedforward_in) for b in blocks])
        self._outer = _stacked([(b.feedforward_out.weight, b.feedforward_out.bias) for b in blocks])
        self._scale = _array(torch.stack([expert.norm.weight for expert in experts]))[:, None]
        self._shift = _array(torch.stack([expert.norm.bias for expert in experts]))[:, None]

    def __call__(self, embedding: Floats, last: Ints) -> Floats:
        """Float32 [K, R, dim] for `embedding` [R, L, dim] whose rows end at slots `last` [R]."""
        rows = np.arange(len(last))
        x = embedding[rows, last] + _product(self._attend(_normalised(embedding), rows, last), self._out)
        hidden = _product(_normalised(x), self._inner)
        x += _product(np.maximum(hidden, 0, out=hidden), self._outer)
        out: Floats = _normalised(x) * self._scale + self._shift
        return out

    def _attend(self, x: Floats, rows: Ints, last: Ints) -> Floats:
        """What the last slots read, without the bias of the values, [K, R, dim]: the heads side by side."""
        query = (x[rows, last] @ self._query[0] + self._query[1]).reshape(len(rows), len(self._key), -1)
        sought = np.matmul(query.transpose(1, 0, 2), self._key)  # [heads, R, dim]
        scores = np.matmul(sought.transpose(1, 0, 2), x.transpose(0, 2, 1))  # [R, heads, L]
        scores += np.where(np.arange(x.shape[1]) > last[:, None], np.float32(-np.inf), np.float32(0))[:, None]
        read = np.matmul(_softmax(scores), x).transpose(1, 0, 2)  # [heads, R, dim]
        values = np.matmul(read, self._value).reshape(-1, self._num_heads, *read.shape[1:2], self._value.shape[2])
        return values.transpose(0, 2, 1, 3).reshape(len(values), len(rows), -1)


class FrozenGates:
    """The gates of an `ExpertMixture`, with what `mixing` makes of them."""

    def __init__(self, mixture: ExpertMixture) -> None:
        gates: TaskGates = mixture.gates
        shape = gates.num_tasks, gates.num_experts
        self._weight, self._bias = _array(gates.maps.weight).reshape(*shape, -1), _array(gates.maps.bias).reshape(shape)
        self._shares_gate = mixture.mixing == "no-separation"
        self._readable = np.ones(shape, dtype=np.float32)
        if mixture.mixing == "own-only":
            self._readable[0, mixture.num_cross_experts :] = 0
            self._readable[1:, : mixture.num_cross_experts] = 0

    def __call__(self, embedding: Floats, tasks: Ints) -> Floats:
        """Weights [R, K] that sum to 1, for `embedding` [R, dim] and `tasks` [R]."""
        gates = np.zeros_like(tasks) if self._shares_gate else tasks
        logits = np.matmul(self._weight[gates], embedding[:, :, None])[:, :, 0] + self._bias[gates]
        weights = _softmax(logits) * self._readable[tasks]
        out: Floats = weights / weights.sum(-1, keepdims=True)
        return out


class FrozenTowers:
    """`TaskTowers`, for rows in any order."""

    def __init__(self, towers: TaskTowers) -> None:
        self._inner, self._outer = ((_array(part.weight), _array(part.bias)) for part in (towers.inner, towers.outer))
        self._scale, self._shift = _array(towers.scale), _array(towers.shift)

    def __call__(self, h: Floats, tasks: Ints) -> Floats:
        """Map [R, dim] of `tasks` [R] to [R, dim]."""
        hidden = np.matmul(h[:, None], self._inner[0][tasks])[:, 0] + self._inner[1][tasks]
        np.maximum(hidden, 0, out=hidden)
        out = h + np.matmul(hidden[:, None], self._outer[0][tasks])[:, 0] + self._outer[1][tasks]
        found: Floats = _normalised(out) * self._scale[tasks] + self._shift[tasks]
        return found


class FrozenSimilarity:
    """`ItemSimilarity` at the last slots, with item vectors from the table of `embedding`."""

    def __init__(self, similarity: ItemSimilarity, embedding: HistoryEmbedding, size: float, *, of_unit: bool) -> None:
        """`size` times each vector, which is first brought to length 1 if it is `of_unit` length in scores."""
        self._items, self._size, self._of_unit = _array(embedding.items.weight), np.float32(size), of_unit
        self._weight, self._rate = _array(similarity.weight), _array(F.softplus(similarity.shift))

    def __call__(self, rows: HistoryRows, tasks: Ints) -> Floats:
        """What is added to the answers [R, dim] of `tasks` [R]."""
        vectors: Floats = self._items.take(rows.tokens, axis=0)
        if self._of_unit:
            vectors /= np.maximum(np.sqrt(np.einsum("rli,rli->rl", vectors, vectors)), SHORTEST)[..., None]
        slots = np.arange(rows.tokens.shape[1])
        distances = rows.last[:, None] - slots
        is_event = (distances >= 0) & (slots > 0)
        scores = np.where(is_event, -self._rate[tasks, None] * distances, _NEVER).astype(np.float32)
        weights = _softmax(scores) * is_event * (self._size * self._weight[tasks])
        found: Floats = np.matmul(weights[:, None], vectors)[:, 0]
        return found


def _normalised(x: Floats) -> Floats:
    """Layer normalisation of the last axis, without scale and shift."""
    size = np.float32(x.shape[-1])
    mean = np.add.reduce(x, axis=-1, keepdims=True)
    mean /= size
    centred: Floats = x - mean
    variance = np.einsum("...i,...i->...", centred, centred)
    variance /= size
    variance += _EPSILON
    centred /= np.sqrt(variance, out=variance)[..., None]
    return centred


def _softmax(x: Floats) -> Floats:
    """Over the last axis, in place."""
    x -= np.maximum.reduce(x, axis=-1, keepdims=True)
    np.exp(x, out=x)
    x /= np.add.reduce(x, axis=-1, keepdims=True)
    return x


def _folded(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias of `linear` after `norm`, for input that is normalised without scale and shift."""
    weight = linear.weight.detach()
    return weight * norm.weight.detach(), linear.bias.detach() + weight @ norm.bias.detach()


def _stacked(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Floats, Floats]:
    """Weights [K, in, out] and biases [K, 1, out]."""
    weights, biases = zip(*parts, strict=True)
    return _array(torch.stack(weights).transpose(1, 2)), _array(torch.stack(biases))[:, None]


def _product(x: Floats, affine: tuple[Floats, Floats]) -> Floats:
    out: Floats = np.matmul(x, affine[0])
    out += affine[1]
    return out


def _array(tensor: Tensor) -> Floats:
    """The numbers of a tensor on the CPU, in one piece."""
    found: Floats = tensor.detach().float().contiguous().numpy()
    return found
