"""The best items for every user of a dataset, on the workers of an engine.

Users are cut into shards, each a directory beside the file that is asked for; a shard that is there is not made again.
So a command that was stopped goes on where it was. A shard's users come in the batches in which one process would
take them, and all shards one behind another are what it would write.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
import torch

from syncrec import artifacts
from syncrec.answers import Answer
from syncrec.cluster.engine import Engine, attempt
from syncrec.data.dataset import Dataset
from syncrec.errors import ArtifactError, ConfigError, WorkerError
from syncrec.pipeline import open_run
from syncrec.runs import BEST_NAME, REFIT_NAME, RunDirectory, library_versions
from syncrec.serving.recommender import BATCH_USERS, Recommender, parquet_errors, recommendation_table

__all__ = ["SHARD_USERS", "Question", "recommend_to_all"]

SHARD_USERS = 8 * BATCH_USERS
_QUESTION_NAME = "question.json"
_ROWS_NAME = "rows.parquet"

Shown = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class Question:
    """What is asked for every user; `dataset` if it was moved since the run was trained."""

    run: Path
    dataset: Path | None
    domain: str
    k: int
    answer: Answer = "fused"
    exclude_seen: bool = False


@dataclass(frozen=True)
class ShardTask:
    """Answer `question` for the users numbered `first:stop`, into `target`; `weights` are checksums of the run's."""

    question: Question
    weights: tuple[tuple[str, str], ...]
    first: int
    stop: int
    target: Path


def recommend_to_all(
    engine: Engine, question: Question, out: Path, *, shard_users: int = SHARD_USERS, shown: Shown | None = None
) -> int:
    """Write (user, rank, item, score) for all users as one Parquet file; gives the rows written.

    Args:
        engine: whose workers see the run, the dataset and the directory of `out`.
        question: what is asked.
        out: the file; shards are in `<out>.shards` until it is written.
        shard_users: users of a shard, a multiple of `BATCH_USERS`.
        shown: is given the finished shards as they come, and how many will, and gives them on; to show progress.

    Raises:
        ArtifactError: `out` cannot be written, its shards answer another question, or the run or dataset is damaged.
        ConfigError: `k` is below 1, the model has no such answer, or shards would cut batches.
        UnknownDomainError: there is no such domain.
        WorkerError: a worker died, or does not see the run.
    """
    if shard_users < 1 or shard_users % BATCH_USERS:
        raise ConfigError(f"shard_users must be a multiple of {BATCH_USERS}, got {shard_users}")
    if question.k < 1:
        raise ConfigError(f"k must be at least 1, got {question.k}")
    directory = RunDirectory.open(question.run)
    dataset = directory.dataset(question.dataset)
    dataset.domain_index(question.domain)
    weights, shards = _weights(directory.path), out.with_name(f"{out.name}.shards").resolve()
    with artifacts.exclusive(shards), _kept_if_any_is_finished(shards):
        with artifacts.replaced_file(out) as place:
            _keep_question(shards, {**_content(question, dataset, weights), "shard_users": shard_users})
            tasks = _tasks(question, dataset, weights, shards, shard_users)
            missing = [task for task in tasks if not task.target.exists()]
            finished = engine.map(_answer, missing)
            for _ in finished if shown is None else shown(finished, len(missing)):
                pass
            with parquet_errors(out):
                pl.scan_parquet([task.target / _ROWS_NAME for task in tasks], glob=False).sink_parquet(place)
        artifacts.remove_tree(shards)
    return int(pl.scan_parquet(out, glob=False).select(pl.len()).collect().item())


@contextmanager
def _kept_if_any_is_finished(shards: Path) -> Iterator[None]:
    """After an error the directory goes, unless somebody can go on from it.

    Raises:
        KeyboardInterrupt: a signal came; it says how many shards are finished.
    """
    try:
        yield
    except BaseException as error:
        if not (finished := len(list(shards.glob("part-*")))):
            artifacts.remove_tree(shards)
        elif isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"{finished} shards are finished; the same command goes on from there") from None
        raise


def _weights(run: Path) -> tuple[tuple[str, str], ...]:
    names = (BEST_NAME, f"{REFIT_NAME}/{BEST_NAME}")
    return tuple((name, artifacts.file_checksum(run / name)) for name in names if (run / name).exists())


def _content(question: Question, dataset: Dataset, weights: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Everything that the answers depend on, wherever it lies."""
    asked = {name: value for name, value in asdict(question).items() if name not in ("run", "dataset")}
    return {**asked, "dataset": dataset.checksum, "weights": dict(weights), "versions": library_versions()}


def _keep_question(shards: Path, content: dict[str, Any]) -> None:
    path = shards / _QUESTION_NAME
    if not path.exists():
        artifacts.write_json(path, content)
        return
    before = artifacts.read_json(path, "what finished shards answer")
    for name, value in content.items():
        if before.get(name) != value:
            raise ArtifactError(
                f"{shards}: holds finished shards for {name} = {before.get(name)!r}, asked for is {value!r}; "
                "remove the directory, or choose another --out"
            )


def _tasks(
    question: Question, dataset: Dataset, weights: tuple[tuple[str, str], ...], shards: Path, shard_users: int
) -> list[ShardTask]:
    seen = Question(**{**asdict(question), "run": question.run.resolve(), "dataset": dataset.path.resolve()})
    return [
        ShardTask(seen, weights, first, min(first + shard_users, dataset.num_users), shards / f"part-{first:010d}")
        for first in range(0, dataset.num_users, shard_users)
    ]


def _answer(task: ShardTask) -> Path:
    question = task.question
    if not question.run.is_dir():
        raise WorkerError(f"{question.run}: a worker does not see it; run and dataset must lie where all workers do")
    recommender = _opened(question.run, question.dataset, task.weights)
    batches = recommender.for_all_users(
        question.domain,
        question.k,
        answer=question.answer,
        exclude_seen=question.exclude_seen,
        users=range(task.first, task.stop),
    )
    number = recommender.dataset.domain_index(question.domain)
    with attempt(task.target) as directory:
        recommendation_table(recommender.dataset, number, batches).write_parquet(directory / _ROWS_NAME)
    return task.target


@lru_cache(maxsize=1)
def _opened(run: Path, dataset: Path | None, _: tuple[tuple[str, str], ...]) -> Recommender:
    """The run with these weights, opened once in a worker, on the worker's share of cores."""
    opened = open_run(run, dataset)
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    return opened.recommender()
