"""Do the negatives that evaluation draws keep their promise? Drawn here exactly as there, and looked at."""

from collections.abc import Iterator

import numpy as np

from syncrec.data.checks.rule import Check, Rule
from syncrec.data.dataset import Dataset, Queries, Split
from syncrec.evaluation.metrics import IntArray
from syncrec.evaluation.negatives import NegativeDraw
from syncrec.evaluation.protocols import PROTOCOLS, EvaluationProtocol
from syncrec.evaluation.ranking import query_blocks
from syncrec.evaluation.sampled import block_negatives

__all__ = ["RULES", "check_negatives"]

_NUM_QUERIES = 2000
_SPLITS: tuple[Split, ...] = ("validation", "test")
_NEGATIVES = Rule(
    "negatives",
    "error",
    "draws",
    "Negatives of a sampled protocol hold the target, another item of the user's events, an item twice, or one from "
    "outside the protocol's range. Such ranks mean nothing.",
    "this is a fault of the package, or of arrays that do not fit; report it, and use the protocol full",
)
RULES = (_NEGATIVES,)


def check_negatives(dataset: Dataset, seed: int = 0) -> Check:
    """Draws of every sampled protocol on both splits that break the protocol's promise.

    Of a split with more than 2,000 queries, 2,000 at even distances are drawn.
    """
    wrong: list[str] = []
    total = 0
    for split in _SPLITS:
        queries = _some(dataset.queries(split), _NUM_QUERIES)
        for protocol in (p for p in PROTOCOLS.values() if p.num_negatives is not None):
            faulty = list(_faulty(dataset, queries, NegativeDraw(protocol, seed, split)))
            wrong += [f"{protocol.name}, {split}, user {dataset.users[int(queries.users[query])]}" for query in faulty]
            total += len(queries)
    return _NEGATIVES.found(len(wrong), total, wrong)


def _some(queries: Queries, num: int) -> Queries:
    chosen = np.linspace(0, len(queries) - 1, num, dtype=np.int64) if len(queries) > num else np.arange(len(queries))
    arrays = (queries.users, queries.target_events, queries.history_starts, queries.targets, queries.domains)
    return Queries(*(array[chosen] for array in arrays))


def _faulty(dataset: Dataset, queries: Queries, draw: NegativeDraw) -> Iterator[int]:
    """The numbers of the queries whose draw is wrong."""
    for block in query_blocks(queries, dataset, draw.protocol.scope):
        drawn = block_negatives(queries, dataset, block, draw).drawn
        for query, negatives in zip(block.queries.tolist(), drawn, strict=True):
            user = int(queries.users[query])
            events = dataset.items[int(dataset.user_offsets[user]) : int(dataset.user_offsets[user + 1])]
            forbidden = np.append(events, queries.targets[query])
            span = _range(dataset, draw.protocol, int(queries.domains[query]))
            if not _is_right(negatives, forbidden, span, draw.num_negatives):
                yield query


def _range(dataset: Dataset, protocol: EvaluationProtocol, domain: int) -> tuple[int, int]:
    return dataset.item_range(domain) if protocol.scope == "domain" else (0, dataset.num_items)


def _is_right(negatives: IntArray, forbidden: IntArray, span: tuple[int, int], num_negatives: int) -> bool:
    """Whether `negatives` are distinct, in `span`, none of `forbidden`, and as many as there can be up to the limit."""
    distinct = np.unique(negatives)
    is_inside = not len(distinct) or (distinct[0] >= span[0] and distinct[-1] < span[1])
    taken = np.unique(forbidden[(forbidden >= span[0]) & (forbidden < span[1])])
    expected = min(num_negatives, span[1] - span[0] - len(taken))
    is_free = not np.isin(distinct, forbidden).any()
    return bool(is_inside and is_free and len(negatives) == len(distinct) == expected)
