"""The result of an evaluation as one JSON file: every rank, the means, and what one must know to read them."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from syncrec import artifacts
from syncrec.errors import ArtifactError, UnknownNameError
from syncrec.evaluation.metrics import FloatArray, IntArray, Summary, all_metrics, summarise
from syncrec.evaluation.negatives import expected_metrics
from syncrec.evaluation.protocols import find_protocol

__all__ = [
    "KIND",
    "SCHEMA_VERSION",
    "AnswerRanks",
    "EvaluationResult",
    "Provenance",
    "load_result",
    "result_path",
    "save_result",
    "versions",
]

KIND = "evaluation"
SCHEMA_VERSION = 1
_DESCRIPTION = "a result of `syncrec evaluate`"

Estimate = Literal["drawn", "expected"]


def versions(**others: str) -> dict[str, str]:
    """Versions of python, numpy, syncrec and `others`, for example `versions(torch=torch.__version__)`."""
    own = {"python": platform.python_version(), "numpy": np.__version__, "syncrec": version("syncrec")}
    return {**own, **others}


@dataclass(frozen=True)
class Provenance:
    """What was evaluated: model name, its training seed, settings in effect, `versions()`, fusion weight by domain.

    `fusion_weights` are the w of model.md (M13): 0 is the cross answer alone, 1 the single answer alone; None for a
    model without a fused answer.
    """

    model: str
    seed: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=versions)
    fusion_weights: Mapping[str, float] | None = None


@dataclass(frozen=True)
class AnswerRanks:
    """Rank of each query's target in one answer, [Q]; for sampled protocols also the eligible items above it, [Q]."""

    ranks: FloatArray
    num_above: IntArray | None = None


@dataclass(frozen=True)
class EvaluationResult:
    """Ranks of all queries under one protocol; metrics are derived from them.

    `users` are raw ids, `query_domains` the numbers of the targets' domains in `domains`, both [Q] in the order of
    the dataset's queries. `num_eligible` [Q], of sampled protocols only: the items a negative could be drawn from.
    `negatives_seed` is the seed of the draw; without meaning under `full`.
    """

    provenance: Provenance
    protocol: str
    split: str
    negatives_seed: int
    dataset_checksum: str
    domains: tuple[str, ...]
    users: tuple[str, ...]
    query_domains: IntArray
    answers: Mapping[str, AnswerRanks]
    num_eligible: IntArray | None = None

    @cached_property
    def num_queries(self) -> dict[str, int]:
        """Number of queries of each domain, zeros included."""
        counts = np.bincount(self.query_domains, minlength=len(self.domains))
        return {domain: int(count) for domain, count in zip(self.domains, counts, strict=True)}

    def values(self, answer: str, estimate: Estimate = "drawn") -> dict[str, FloatArray]:
        """Every metric of each query, [Q]: of its rank, or in expectation over the draw of its negatives.

        Raises:
            UnknownNameError: there is no such answer.
            ArtifactError: `expected` of a protocol that draws nothing.
        """
        entry = self._answer(answer)
        if estimate == "drawn":
            return all_metrics(entry.ranks)
        num_negatives = find_protocol(self.protocol).num_negatives
        if num_negatives is None or self.num_eligible is None or entry.num_above is None:
            raise ArtifactError(f"protocol {self.protocol!r} draws no negatives, so it has no expected metrics")
        return expected_metrics(self.num_eligible, entry.num_above, num_negatives)

    def summary(self, answer: str, estimate: Estimate = "drawn") -> Summary:
        """Means of `values` by domain, and over domains."""
        return summarise(self.values(answer, estimate), self.query_domains, self.domains)

    def _answer(self, answer: str) -> AnswerRanks:
        if answer not in self.answers:
            raise UnknownNameError("answer", answer, self.answers, "the answers are " + ", ".join(self.answers))
        return self.answers[answer]


def result_path(run: Path, split: str, protocol: str, seed: int = 0) -> Path:
    """Where the evaluation of a run on `split` is kept; `seed` is that of the protocol's draws."""
    draws = "" if find_protocol(protocol).num_negatives is None else f"-seed{seed}"
    return run / "results" / f"{split}-{protocol}{draws}.json"


def save_result(path: Path, result: EvaluationResult) -> None:
    """Write `result` as JSON in one step.

    Raises:
        ValueError: a number in it (a setting, a rank) is NaN or infinite.
    """
    artifacts.write_json(path, _to_json(result))


def load_result(path: Path) -> EvaluationResult:
    """The result in `path`. Ranks are read; the means in the file are for other readers and are derived anew.

    Raises:
        ArtifactError: the file is missing, damaged, no evaluation, or of another version.
    """
    value = artifacts.read_json(path, _DESCRIPTION)
    head = (value.get("kind"), value.get("schema_version")) if isinstance(value, dict) else (None, None)
    if head != (KIND, SCHEMA_VERSION):
        raise ArtifactError(
            f"{path}: is kind {head[0]!r} of schema version {head[1]}; expected {KIND!r} of version {SCHEMA_VERSION}, "
            f"{_DESCRIPTION}; evaluate again"
        )
    try:
        result = _from_json(value)
        _check(result)
    except (KeyError, TypeError, ValueError, AttributeError, UnknownNameError) as error:
        raise ArtifactError(f"{path}: damaged, {type(error).__name__}: {error}; evaluate again") from None
    return result


def _to_json(result: EvaluationResult) -> dict[str, Any]:
    provenance = result.provenance
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "model": provenance.model,
        "seed": provenance.seed,
        "protocol": result.protocol,
        "split": result.split,
        "negatives_seed": result.negatives_seed,
        "dataset_checksum": result.dataset_checksum,
        "domains": list(result.domains),
        "num_queries": result.num_queries,
        "fusion_weights": None if provenance.fusion_weights is None else dict(provenance.fusion_weights),
        "versions": dict(provenance.versions),
        "config": dict(provenance.config),
        "metrics": {answer: _metrics_json(result, answer) for answer in result.answers},
        "users": list(result.users),
        "query_domains": result.query_domains.tolist(),
        "num_eligible": _optional_list(result.num_eligible),
        "answers": {
            name: {"ranks": entry.ranks.tolist(), "num_above": _optional_list(entry.num_above)}
            for name, entry in result.answers.items()
        },
    }


def _metrics_json(result: EvaluationResult, answer: str) -> dict[str, Any]:
    estimates: tuple[Estimate, ...] = ("drawn",) if result.num_eligible is None else ("drawn", "expected")
    summaries = {estimate: result.summary(answer, estimate) for estimate in estimates}
    return {name: {"domains": summary.domains, "macro": summary.macro} for name, summary in summaries.items()}


def _from_json(value: dict[str, Any]) -> EvaluationResult:
    return EvaluationResult(
        provenance=Provenance(
            model=value["model"],
            seed=value["seed"],
            config=value["config"],
            versions=value["versions"],
            fusion_weights=value["fusion_weights"],
        ),
        protocol=find_protocol(value["protocol"]).name,
        split=value["split"],
        negatives_seed=value["negatives_seed"],
        dataset_checksum=value["dataset_checksum"],
        domains=tuple(value["domains"]),
        users=tuple(value["users"]),
        query_domains=np.array(value["query_domains"], dtype=np.int64),
        answers={name: _answer_from_json(entry) for name, entry in value["answers"].items()},
        num_eligible=_optional_array(value["num_eligible"]),
    )


def _answer_from_json(entry: dict[str, Any]) -> AnswerRanks:
    return AnswerRanks(np.array(entry["ranks"], dtype=np.float64), _optional_array(entry["num_above"]))


def _optional_list(array: IntArray | None) -> list[int] | None:
    return None if array is None else array.tolist()


def _optional_array(numbers: list[int] | None) -> IntArray | None:
    return None if numbers is None else np.array(numbers, dtype=np.int64)


def _check(result: EvaluationResult) -> None:
    provenance = result.provenance
    kinds = {"model": str, "seed": int, "config": dict, "versions": dict}
    for name, kind in kinds.items():
        if not isinstance(value := getattr(provenance, name), kind) or isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}, no {kind.__name__}")
    if not result.answers or not result.users:
        raise ValueError("no answers, or no queries")
    num_queries = len(result.users)
    per_answer = [array for entry in result.answers.values() for array in (entry.ranks, entry.num_above)]
    arrays = [result.query_domains, result.num_eligible, *per_answer]
    if any(array is not None and len(array) != num_queries for array in arrays):
        raise ValueError(f"not every array has one entry for each of the {num_queries} queries")
    if not all(0 <= number < len(result.domains) for number in result.query_domains):
        raise ValueError(f"a domain number outside 0..{len(result.domains) - 1}")
    if any(not np.all(entry.ranks >= 1) for entry in result.answers.values()):
        raise ValueError("a rank is no number of at least 1")
