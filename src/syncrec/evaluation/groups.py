"""Which results are training seeds of one model, and which of its answers stands for it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

from syncrec.answers import main_answer
from syncrec.errors import ArtifactError, UnknownNameError
from syncrec.evaluation.results import EvaluationResult, Provenance

__all__ = ["NamedResult", "ResultGroups", "choose_answer", "group_results"]


@dataclass(frozen=True)
class NamedResult:
    """A result, what to call it in an error (its file), and the group and the answer that were asked for, if any."""

    result: EvaluationResult
    name: str
    label: str | None = None
    answer: str | None = None


@dataclass(frozen=True)
class ResultGroups:
    """By the label of each group: its results, the answer that is compared, and what to call each result."""

    results: Mapping[str, Sequence[EvaluationResult]]
    answers: Mapping[str, str]
    names: Mapping[str, Sequence[str]]


def choose_answer(result: EvaluationResult, wanted: str | None = None) -> str:
    """The answer a model would be deployed with: the wanted one, else `fused`, else its first.

    A result with a single answer gives that one, whatever is wanted.

    Raises:
        UnknownNameError: it has several answers, but not the wanted one.
    """
    names = list(result.answers)
    if len(names) > 1 and wanted is not None:
        return _known_answer(result, wanted)
    return main_answer(names)


def group_results(entries: Sequence[NamedResult], answer: str | None = None) -> ResultGroups:
    """Results that differ in nothing but the training seed are seeds of one model; groups in the order of the first.

    An entry with a label joins the group of that label, whatever its settings. Other groups are called after their
    model, also after their answer where that tells them apart, and numbered where nothing short does.

    Args:
        entries: results in the order in which they were given.
        answer: wanted of those entries that name none; see `choose_answer`.

    Raises:
        ArtifactError: a label is given to two answers.
        UnknownNameError: a result has not the answer asked for.
    """
    groups: dict[tuple[str, ...], list[tuple[NamedResult, str]]] = {}
    for entry in entries:
        chosen = (
            choose_answer(entry.result, answer) if entry.answer is None else _known_answer(entry.result, entry.answer)
        )
        key = _settings_key(entry.result.provenance, chosen) if entry.label is None else (entry.label,)
        groups.setdefault(key, []).append((entry, chosen))
    labelled = dict(zip(_labels(list(groups.values())), groups.values(), strict=True))
    return ResultGroups(
        results={label: [entry.result for entry, _ in members] for label, members in labelled.items()},
        answers={label: _one_answer(label, members) for label, members in labelled.items()},
        names={label: [entry.name for entry, _ in members] for label, members in labelled.items()},
    )


def _known_answer(result: EvaluationResult, wanted: str) -> str:
    if wanted not in result.answers:
        known = ", ".join(result.answers)
        raise UnknownNameError(
            "answer", wanted, result.answers, f"the answers of {result.provenance.model} are {known}"
        )
    return wanted


def _settings_key(provenance: Provenance, answer: str) -> tuple[str, ...]:
    """Equal for seeds of one model; settings that are no sections, as of item-kNN, count whole."""
    config: dict[str, Any] = dict(provenance.config)
    if isinstance(training := config.get("training"), Mapping):
        config["training"] = {key: value for key, value in training.items() if key != "seed"}
    return provenance.model, json.dumps(config, sort_keys=True, default=str), answer


def _labels(groups: Sequence[Sequence[tuple[NamedResult, str]]]) -> list[str]:
    """A name of its own for each group; those that were asked for stay as they are."""
    firsts = [members[0] for members in groups]
    open_ones = [(entry.result.provenance.model, answer) for entry, answer in firsts if entry.label is None]
    models, answers = Counter(model for model, _ in open_ones), Counter(model for model, _ in set(open_ones))
    taken = {entry.label for entry, _ in firsts if entry.label is not None}
    labels = []
    for entry, answer in firsts:
        model = entry.result.provenance.model
        wanted = f"{model} {answer}" if models[model] > 1 and answers[model] > 1 else model
        labels.append(entry.label if entry.label is not None else _unused(wanted, taken))
        taken.add(labels[-1])
    return labels


def _unused(name: str, taken: set[str]) -> str:
    numbered = (f"{name} {number}" for number in count(2))
    return next(label for label in chain([name], numbered) if label not in taken)


def _one_answer(label: str, members: Sequence[tuple[NamedResult, str]]) -> str:
    (first, answer), *others = members
    for entry, other in others:
        if other != answer:
            raise ArtifactError(
                f"group {label!r} is of two answers, {answer!r} ({first.name}) and {other!r} ({entry.name}); "
                "a group has one, give the other another label"
            )
    return answer
