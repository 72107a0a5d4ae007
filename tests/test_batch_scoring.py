"""Recommendations for every user on two workers, in shards of 512 users."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engines import NUM_WORKERS, opened
from jobs import TINY, names_in, write_small_log
from syncrec import pipeline
from syncrec.batch_scoring import Question, recommend_to_all
from syncrec.errors import ArtifactError, ConfigError, UnknownDomainError, WorkerError
from syncrec.serving.recommender import BATCH_USERS, write_recommendations

NUM_USERS = 1300


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    dataset = pipeline.prepare(write_small_log(folder / "log.csv", NUM_USERS), out=folder / "data")
    settings = [*TINY, "training.epochs=1", "training.batch_size=256"]
    return pipeline.train(dataset, folder / "run", settings=settings, show_progress=False)


@pytest.fixture(scope="module")
def engine():
    with opened("processes") as found:
        yield found


def ask(engine, question, out):
    return recommend_to_all(engine, question, out, shard_users=BATCH_USERS)


def by_one_process(run, question, out):
    batches = run.recommender().for_all_users(
        question.domain, question.k, answer=question.answer, exclude_seen=question.exclude_seen
    )
    write_recommendations(out, run.dataset, question.domain, batches)
    return pl.read_parquet(out)


class FailingEngine:
    """Gives the first results and then fails, as if the machine went down."""

    def __init__(self, engine, num_results, error=WorkerError):
        self.engine, self.num_results, self.error = engine, num_results, error
        self.num_workers, self.asked = engine.num_workers, []

    def map(self, function, tasks):
        self.asked += [task.first for task in tasks]
        yield from self.engine.map(function, tasks[: self.num_results])
        raise self.error("gone")


@pytest.mark.parametrize(("name", "exclude_seen"), [("processes", False), ("processes", True), ("dask", True)])
def test_two_workers_write_the_rows_and_scores_of_one_process(run, tmp_path, name, exclude_seen):
    question = Question(run.path, None, "films", 28, "fused", exclude_seen)
    with opened(name) as engine:
        assert engine.num_workers == NUM_WORKERS
        rows = ask(engine, question, tmp_path / "there.parquet")
    here = by_one_process(run, question, tmp_path / "here.parquet")
    assert_frame_equal(pl.read_parquet(tmp_path / "there.parquet"), here, check_exact=True)
    assert (rows, here["user"].n_unique()) == (len(here), NUM_USERS)
    assert names_in(tmp_path) == ["here.parquet", "there.parquet"]


def test_a_finished_shard_is_not_made_again(run, engine, tmp_path):
    question, out = Question(run.path, None, "books", 3, "single"), tmp_path / "recs.parquet"
    broken = FailingEngine(engine, 2)
    with pytest.raises(WorkerError, match=r"^gone$"):
        ask(broken, question, out)
    assert broken.asked == [0, 512, 1024]
    assert names_in(tmp_path) == ["recs.parquet.shards"]
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "recs.parquet.shards").glob("part-*")}
    assert [path.name for path in sorted(shards)] == ["part-0000000000", "part-0000000512"]
    again = FailingEngine(engine, 1)
    with pytest.raises(WorkerError):
        ask(again, question, out)
    assert again.asked == [1024]
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    ask(engine, question, out)
    assert_frame_equal(pl.read_parquet(out), by_one_process(run, question, tmp_path / "here.parquet"), check_exact=True)
    assert names_in(tmp_path) == ["here.parquet", "recs.parquet"]


def test_a_signal_says_how_much_is_finished(run, engine, tmp_path):
    with pytest.raises(KeyboardInterrupt, match=r"^1 shards are finished; the same"):
        ask(FailingEngine(engine, 1, KeyboardInterrupt), Question(run.path, None, "books", 3), tmp_path / "r.parquet")


@pytest.mark.parametrize("change", [{"k": 4}, {"domain": "films"}, {"exclude_seen": True}])
def test_shards_of_another_question_are_refused(run, engine, tmp_path, change):
    asked = {"run": run.path, "dataset": None, "domain": "books", "k": 3}
    with pytest.raises(WorkerError):
        ask(FailingEngine(engine, 1), Question(**asked), tmp_path / "r.parquet")
    name = next(iter(change))
    with pytest.raises(ArtifactError, match=rf"shards: holds finished shards for {name} = .*, asked for is .*; remove"):
        ask(engine, Question(**{**asked, **change}), tmp_path / "r.parquet")
    assert names_in(tmp_path) == ["r.parquet.shards"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"domain": "flims"}, UnknownDomainError, "nearest: 'films'"),
        ({"k": 0}, ConfigError, "k must be at least 1, got 0"),
        ({"answer": "best"}, ConfigError, "the model has no answer 'best'; it has fused, cross, single"),
    ],
)
def test_refusals_leave_nothing_behind(run, engine, tmp_path, change, error, message):
    asked = {"run": run.path, "dataset": None, "domain": "books", "k": 3, **change}
    with pytest.raises(error, match=message):
        ask(engine, Question(**asked), tmp_path / "r.parquet")
    assert names_in(tmp_path) == []


def test_shards_must_be_whole_batches(run, engine, tmp_path):
    with pytest.raises(ConfigError, match="shard_users must be a multiple of 512, got 100"):
        recommend_to_all(engine, Question(run.path, None, "books", 3), tmp_path / "r.parquet", shard_users=100)
