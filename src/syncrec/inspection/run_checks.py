"""Checks of a trained run: the dataset it was trained on, what it was fitted on, and what its results say."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.checkpoint import load_state
from syncrec.data.checks.rule import Check, Rule
from syncrec.data.dataset import Dataset
from syncrec.errors import ArtifactError
from syncrec.evaluation import load_result
from syncrec.runs import ANALYSIS_NAME, BEST_NAME, LOG_NAME, REFIT_NAME, RunDirectory
from syncrec.training.tracking import read_log

__all__ = ["RULES", "check_run"]

_State = Mapping[str, Any]
_Claim = tuple[bool, str]  # whether it holds, and what is wrong if it does not

_DATASET = Rule(
    "run-dataset",
    "error",
    "runs",
    "The run was trained on another dataset than this one: what was its training part may be a test target here.",
    "inspect the run with its own dataset (run.json names it), or train again",
)
_FIT = Rule(
    "run-fit",
    "error",
    "claims",
    "Log and checkpoints do not agree with the settings on what was trained on which events: the epoch must be the "
    "best one on validation, and only training.refit = validation may fit on validation events, for as many epochs "
    "and with the fusion weights that the first fit chose.",
    "finish the run with --resume, or train it again",
)
_RESULTS = Rule(
    "run-results",
    "error",
    "result files",
    "A result file is of another dataset, of other settings, of other fusion weights, or not of every query.",
    "evaluate the run again",
)
RULES = (_DATASET, _FIT, _RESULTS)


def check_run(path: Path, dataset: Dataset) -> Iterator[Check]:
    """The checks of the run at `path` against `dataset`; only the first, if that is not its dataset.

    Raises:
        ArtifactError: there is no run.
        CheckpointError: nothing was trained yet.
    """
    run = RunDirectory.open(path)
    trained_on = run.info["dataset_checksum"]
    is_other = run.is_of_another(dataset)
    detail = f"trained on {trained_on[:12]}, this one is {dataset.checksum[:12]}" if is_other else ""
    yield _DATASET.found(is_other, 1, detail=detail)
    if not is_other:
        best = load_state(path / BEST_NAME)
        yield _check_fit(run, dataset, best)
        yield _check_results(run, dataset, best)


def _check_fit(run: RunDirectory, dataset: Dataset, best: _State) -> Check:
    records, epoch = read_log(run.path / LOG_NAME), best["epoch"] + 1
    best_in_log = _best_epoch(run, records)
    claims = [
        (epoch == best_in_log, f"the checkpoint is of epoch {epoch}, the best on validation is {best_in_log}"),
        (
            _steps_agree(run, records, dataset, np.asarray(dataset.train_end)),
            "the steps of the log are not those of epochs over the users with training events",
        ),
        *_refit_claims(run, dataset, best),
    ]
    return _FIT.found(sum(not holds for holds, _ in claims), len(claims), detail=_join(claims))


def _join(claims: Sequence[_Claim]) -> str:
    return "; ".join(fault for holds, fault in claims if not holds)


def _refit_claims(run: RunDirectory, dataset: Dataset, best: _State) -> list[_Claim]:
    place = run.path / REFIT_NAME
    if run.config.training.refit == "none":
        return [(not place.exists(), "there is a second fit, but training.refit is none")]
    if not (place / BEST_NAME).exists():
        return [(False, "training.refit is set, but the second fit is not finished")]
    again, records = load_state(place / BEST_NAME), read_log(place / LOG_NAME)
    is_same = all(again.get(key) == best.get(key) for key in ("epoch", "fusion_weights"))
    return [
        (
            is_same and len(records) == best["epoch"] + 1,
            "the second fit has other epochs or fusion weights than the first chose",
        ),
        (
            _steps_agree(run, records, dataset, np.asarray(dataset.validation_end)),
            "the steps of the second fit are not those of epochs over the users with events before the test part",
        ),
        (not any("validation" in record for record in records), "the second fit was validated on what it learned from"),
    ]


def _best_epoch(run: RunDirectory, records: Sequence[_State]) -> int:
    """The first epoch (from 1) with the highest monitored value on validation; 0 without a validation."""
    values = [
        (_monitored(run, record["validation"]), -record["epoch"] - 1) for record in records if "validation" in record
    ]
    return -max(values, default=(0.0, 0))[1]


def _monitored(run: RunDirectory, answers: _State) -> float:
    training = run.config.training
    answer = answers.get(training.monitor_answer, next(iter(answers.values())))
    return float(answer["macro"][training.monitor])


def _steps_agree(run: RunDirectory, records: Sequence[_State], dataset: Dataset, ends: npt.NDArray[np.int64]) -> bool:
    """Whether every epoch took the steps of the users that have events before `ends`."""
    users = int(np.count_nonzero(ends > np.asarray(dataset.user_offsets)[:-1]))
    steps = -(-users // run.config.training.batch_size)
    return bool(records) and all(record["step"] == steps * (record["epoch"] + 1) for record in records)


def _check_results(run: RunDirectory, dataset: Dataset, best: _State) -> Check:
    places = sorted((run.path / "results").glob("*.json"))
    files = [path for path in places if path.name != ANALYSIS_NAME]
    claims = [(not (fault := _result_fault(run, dataset, best, file)), f"{file.name}: {fault}") for file in files]
    return _RESULTS.found(sum(not holds for holds, _ in claims), len(files), detail=_join(claims))


def _result_fault(run: RunDirectory, dataset: Dataset, best: _State, file: Path) -> str:
    """What is wrong with a result file, empty if nothing is."""
    try:
        result = load_result(file)
    except ArtifactError as error:
        return str(error)
    provenance, fusion = result.provenance, result.provenance.fusion_weights
    expected = len(dataset.queries("test" if result.split == "test" else "validation"))
    claims = [
        (not dataset.is_other_than(result.dataset_checksum, result.domains), "is of another dataset"),
        (_settings_agree(provenance.config, run.config.model_dump()), "is of other settings than config.toml"),
        (len(result.users) == expected, f"has {len(result.users):,} queries, the {result.split} split {expected:,}"),
        (
            best.get("fusion_weights") == (None if fusion is None else dict(fusion)),
            "has other fusion weights than the checkpoint",
        ),
    ]
    return _join(claims)


def _settings_agree(found: _State, expected: _State) -> bool:
    """Whether the sections are the same and every key that both have is equal: a newer version may know more keys."""
    return found.keys() == expected.keys() and all(
        expected[section].get(key, value) == value for section, values in found.items() for key, value in values.items()
    )
