"""Negatives of the sampled protocols: real draws, and the exact expectation over all draws.

A draw depends on the seed, the split and the query's event alone, so every model, answer and subset of the queries
meets the same negatives, and comparisons are paired.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from syncrec import rng
from syncrec.data.dataset import Dataset, Queries, Split
from syncrec.evaluation.metrics import CUTOFFS, FloatArray, IntArray
from syncrec.evaluation.protocols import EvaluationProtocol
from syncrec.evaluation.ranking import Block

__all__ = ["NegativeDraw", "Rivals", "draw_negatives", "expected_metrics", "past_items", "rivals_of", "seen_items"]

# Queries whose rank chances are computed together; bounds the memory to some tens of megabytes.
_CHUNK = 1 << 15


def seen_items(dataset: Dataset, user: int, item_start: int, item_stop: int) -> IntArray:
    """Distinct items in the range that are anywhere in the user's events, later ones included; ascending."""
    items = np.unique(dataset.history(user)).astype(np.int64)
    return items[(items >= item_start) & (items < item_stop)]


def past_items(queries: Queries, dataset: Dataset, block: Block) -> list[IntArray]:
    """Of each query of the block the distinct items of its range that the user had before; never the target itself."""
    found = []
    for query in block.queries.tolist():
        user, target = int(queries.users[query]), int(queries.targets[query])
        events = slice(int(dataset.user_offsets[user]), int(queries.target_events[query]))
        items = block.inside(np.unique(dataset.items[events]).astype(np.int64))
        found.append(items[items != target])
    return found


@dataclass(frozen=True)
class NegativeDraw:
    """Which negatives: the protocol's number and scope, and the seed and split that name the draw."""

    protocol: EvaluationProtocol
    seed: int
    split: Split

    @property
    def num_negatives(self) -> int:
        """Negatives of each query, at most."""
        assert self.protocol.num_negatives is not None
        return self.protocol.num_negatives

    def negatives(self, event: int, item_start: int, item_stop: int, seen: IntArray) -> IntArray:
        """The negatives of the query whose target is `event`; see `draw_negatives`."""
        generator = rng.numpy_generator(self.seed, f"evaluation-negatives-{self.split}", event)
        return draw_negatives(generator, item_start, item_stop, seen, self.num_negatives)


Rivals = NegativeDraw | Literal["all", "unseen"]
"""What a target is ranked against: drawn negatives, every item of its domain, or those that the user has not had."""


def rivals_of(protocol: EvaluationProtocol, seed: int, split: Split) -> Rivals:
    """What `protocol` ranks a target against; `seed` and `split` name the draw, where there is one."""
    if protocol.num_negatives is None:
        return "all" if protocol.keeps_seen else "unseen"
    return NegativeDraw(protocol, seed, split)


def draw_negatives(
    generator: np.random.Generator, item_start: int, item_stop: int, seen: IntArray, num_negatives: int
) -> IntArray:
    """`num_negatives` items of the range without `seen`, uniform without replacement; all of them if fewer.

    Args:
        generator: the source of chance.
        item_start: first candidate.
        item_stop: one past the last candidate.
        seen: items of the range to leave out, distinct and ascending.
        num_negatives: how many to draw.

    Returns:
        Distinct item indices in no particular order.
    """
    num_eligible = item_stop - item_start - len(seen)
    if num_eligible <= num_negatives:
        places: IntArray = np.arange(num_eligible)
    else:
        places = generator.choice(num_eligible, num_negatives, replace=False, shuffle=False)
    # The p-th eligible item lies behind every seen item that has at most p eligible ones before it.
    eligible_before = seen - item_start - np.arange(len(seen))
    return item_start + places + np.searchsorted(eligible_before, places, side="right")


def expected_metrics(num_eligible: IntArray, num_above: IntArray, num_negatives: int) -> dict[str, FloatArray]:
    """Every metric of each query in expectation over the draw of its negatives: exact, without sampling noise.

    Of the `num_eligible` items that may be drawn, `num_above` score strictly higher than the target. The number X of
    those in a draw without replacement is hypergeometric, and `rank = 1 + X`. All arrays are [q].
    """
    starts = range(0, max(1, len(num_eligible)), _CHUNK)
    parts = [_expected(num_eligible[s : s + _CHUNK], num_above[s : s + _CHUNK], num_negatives) for s in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _expected(num_eligible: IntArray, num_above: IntArray, num_negatives: int) -> dict[str, FloatArray]:
    drawn = np.minimum(num_eligible, num_negatives)
    chances = _rank_chances(num_eligible, num_above, drawn, max(CUTOFFS))
    gains = chances / np.log2(2.0 + np.arange(max(CUTOFFS)))
    hits = {f"hr@{k}": np.minimum(chances[:, :k].sum(axis=1), 1.0) for k in CUTOFFS}
    discounted = {f"ndcg@{k}": np.minimum(gains[:, :k].sum(axis=1), 1.0) for k in CUTOFFS}
    return {**hits, **discounted, "mrr": _expected_reciprocal_rank(num_eligible, num_above, drawn, chances)}


def _rank_chances(num_eligible: IntArray, num_above: IntArray, drawn: IntArray, depth: int) -> FloatArray:
    """P(X = x) for x = 0..depth-1, [q, depth]: C(K, x) C(M - K, n - x) / C(M, n)."""
    x = np.arange(depth)
    total, above, n = (a[:, None].astype(np.float64) for a in (num_eligible, num_above, drawn))
    log_chance = _log_choose(above, x) + _log_choose(total - above, n - x) - _log_choose(total, n)
    return np.exp(log_chance)


def _expected_reciprocal_rank(
    num_eligible: IntArray, num_above: IntArray, drawn: IntArray, chances: FloatArray
) -> FloatArray:
    """E[1 / (1 + X)]: summed where `chances` hold every possible X, else in closed form.

    C(K, x) / (x + 1) = C(K+1, x+1) / (K+1) turns the sum into one over Hypergeometric(M+1, K+1, n+1) without its
    term at zero: (M+1) / ((n+1)(K+1)) * (1 - C(M-K, n+1) / C(M+1, n+1)). For few K and large M that difference loses
    digits, and the sum does not.
    """
    total, above, n = (a.astype(np.float64) for a in (num_eligible, num_above, drawn))
    none_above = np.exp(_log_choose(total - above, n + 1) - _log_choose(total + 1, n + 1))
    closed = (total + 1) / ((n + 1) * (above + 1)) * (1.0 - none_above)
    summed = (chances / np.arange(1, chances.shape[1] + 1)).sum(axis=1)
    return np.minimum(np.where(num_above < chances.shape[1], summed, closed), 1.0)


def _log_choose(n: FloatArray, k: FloatArray | IntArray) -> FloatArray:
    """Logarithm of C(n, k) for whole numbers; -inf where k is outside 0..n."""
    possible = (k >= 0) & (k <= n)
    inside = np.where(possible, k, 0)
    from scipy.special import gammaln  # a tenth of a second at start, for sampled protocols only

    value = gammaln(n + 1) - gammaln(inside + 1) - gammaln(n - inside + 1)
    return np.where(possible, value, -np.inf)
