"""Does the future, or the answer, reach what a model learns from or is asked?"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from syncrec.data.checks.rule import Check, Rule
from syncrec.data.checks.walk import Chunk, chunks, num_targets
from syncrec.data.dataset import Dataset

__all__ = [
    "RULES",
    "check_cold_targets",
    "check_future_training",
    "check_popularity",
    "check_repeated_targets",
    "check_ties_at_split",
    "check_ties_by_domain",
]

_POPULARITY = Rule(
    "popularity",
    "error",
    "items",
    "The stored count of an item is not its number of training events. The popularity floor, sampled negatives and "
    "their correction would use events of validation or test.",
    "prepare the dataset again; item_counts is made from training events alone",
)
_TIES_AT_SPLIT = Rule(
    "ties-at-split",
    "warning",
    "targets",
    "A target has the same time as the event before it, so the data do not say which of the two came first: the order "
    "of the input decides what is history and what is the answer.",
    "use finer times if there are any; else prepare a second dataset with --ties shuffle and report both results",
)
_TIES_BY_DOMAIN = Rule(
    "ties-by-domain",
    "warning",
    "neighbours with equal times",
    "Of two domains with events at the same time one comes first nearly always: the input is sorted by domain where "
    "times are equal, so its order is not that in which people acted. The last event, which is the target, is of the "
    "later domain too often, and models learn the order of the file.",
    "prepare with --ties shuffle, which draws the order of equal times, and rest claims on that",
)
_FUTURE_TRAINING = Rule(
    "future-training",
    "warning",
    "training events",
    "These training events are later than an average test event of other users: with leave-one-out a model has seen "
    "what is popular after the moment at which it is asked. Results are better than they would be in operation.",
    "for a claim about operation prepare with --split temporal --validation-from 0.8 --test-from 0.9",
)
_COLD_TARGETS = Rule(
    "cold-targets",
    "warning",
    "targets",
    "The item of a target has no training event, so a model that knows items by id cannot find it but by luck. These "
    "targets pull every metric down, and by a different share in each domain.",
    "read the metrics beside this share; --min-item-interactions drops rare items, which makes the task another one",
)
_REPEATED_TARGETS = Rule(
    "repeated-targets",
    "info",
    "targets",
    "The user had the target's item before: to repeat the history answers it. That is right where people buy again, "
    "and flatters a model elsewhere. Sampled protocols never draw items of the history, `full` keeps them.",
    "--drop-repeats removes events that repeat the one before; recommend --exclude-seen leaves out what a user has had",
)
# A pair of domains is judged from so many ties on, and is one-sided if no more than this share goes the rarer way.
_LEAST_TIES = 30
_RARER_WAY = 0.05
RULES = (_POPULARITY, _TIES_AT_SPLIT, _TIES_BY_DOMAIN, _FUTURE_TRAINING, _COLD_TARGETS, _REPEATED_TARGETS)


def check_popularity(dataset: Dataset) -> Check:
    """Items whose stored count differs from a count over training events."""
    stored = np.asarray(dataset.item_counts)
    wrong = np.flatnonzero(stored != _item_counts(dataset, lambda chunk: chunk.parts == 0))
    is_over_all = len(wrong) and np.array_equal(stored, _item_counts(dataset, lambda chunk: chunk.parts >= 0))
    detail = "the counts are those over all events, validation and test included" if is_over_all else ""
    examples = (f"{dataset.item_id(int(item))} (stored {stored[item]})" for item in wrong)
    return _POPULARITY.found(len(wrong), dataset.num_items, examples, detail)


def check_cold_targets(dataset: Dataset) -> Check:
    """Validation and test targets whose item has no training event."""
    counts = _item_counts(dataset, lambda chunk: chunk.parts == 0)
    validation = _item_counts(dataset, lambda chunk: chunk.parts == 1)
    test = _item_counts(dataset, lambda chunk: chunk.parts == 2)
    is_cold = counts == 0
    cold = (validation[is_cold].sum(), test[is_cold].sum())
    test_only = test[is_cold & (validation == 0)].sum()
    detail = f"validation {cold[0]:,}, test {cold[1]:,}, of which {test_only:,} have an item that is in test alone"
    return _COLD_TARGETS.found(sum(cold), num_targets(dataset), detail=detail if sum(cold) else "")


def check_ties_at_split(dataset: Dataset) -> Check:
    """Targets with the time of the event before them in the same history; by finer times than seconds, if they are."""
    if dataset.has_no_ties:
        return _TIES_AT_SPLIT.found(0, num_targets(dataset))
    count = 0
    for chunk in chunks(dataset):
        count += int(np.count_nonzero(chunk.is_tied & (chunk.parts[1:] > 0)))
    return _TIES_AT_SPLIT.found(count, num_targets(dataset))


def check_ties_by_domain(dataset: Dataset) -> Check:
    """Neighbours of equal time in two domains of which one comes first nearly always; the total is of all such ties."""
    pairs = np.zeros((dataset.num_domains, dataset.num_domains), dtype=np.int64)
    for chunk in () if dataset.has_no_ties else chunks(dataset):
        domains, is_tied = dataset.domain_of(chunk.items), chunk.is_tied
        np.add.at(pairs, (domains[:-1][is_tied], domains[1:][is_tied]), 1)
    np.fill_diagonal(pairs, 0)
    both = pairs + pairs.T
    is_one_sided = (both >= _LEAST_TIES) & (_RARER_WAY * both >= pairs.T)
    names = dataset.domains
    examples = (
        f"{names[first]} before {names[second]} (in {pairs[first, second]:,} of {both[first, second]:,})"
        for first, second in np.argwhere(is_one_sided)
    )
    return _TIES_BY_DOMAIN.found(pairs[is_one_sided].sum(), pairs.sum(), examples)


def check_repeated_targets(dataset: Dataset) -> Check:
    """Targets whose item occurs earlier in the same history."""
    count = sum(int(np.count_nonzero(chunk.parts[chunk.repeats()[0]] > 0)) for chunk in chunks(dataset))
    return _REPEATED_TARGETS.found(count, num_targets(dataset))


def check_future_training(dataset: Dataset) -> Check:
    """Training events later than a test event, as a mean over all test events.

    A user's own training events are never later than the own test event, so every pair that counts is of two users.
    """
    tests = np.sort(np.concatenate([chunk.times[chunk.parts == 2] for chunk in chunks(dataset)]))
    pairs = num_training = 0
    for chunk in chunks(dataset):
        times = np.sort(chunk.times[chunk.parts == 0])
        pairs += int(np.searchsorted(tests, times).sum())
        num_training += len(times)
    return _FUTURE_TRAINING.found(-(-pairs // max(1, len(tests))), num_training)


def _item_counts(dataset: Dataset, choose: Callable[[Chunk], npt.NDArray[np.bool_]]) -> npt.NDArray[np.int64]:
    """Events of each item among those that `choose` marks in a chunk, [I]."""
    counts = np.zeros(dataset.num_items, dtype=np.int64)
    for chunk in chunks(dataset):
        counts += np.bincount(chunk.items[choose(chunk)], minlength=dataset.num_items)
    return counts
