"""The Python interface: it reads like the command line, and does the same."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

import syncrec
from builders import tiny_arrays
from jobs import DOMAINS, TINY, write_small_log
from syncrec import artifacts
from syncrec.baselines import fit_popularity
from syncrec.checkpoint import load_checkpoint, save_checkpoint
from syncrec.data.dataset import write_dataset
from syncrec.data.simulation import simulate_log
from syncrec.errors import ConfigError, DataError
from syncrec.evaluation import all_metrics, load_result, summarise
from syncrec.runs import BEST_NAME
from syncrec.training.loop import Trainer


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_small_log(tmp_path_factory.mktemp("log") / "log.csv")


@pytest.fixture(scope="module")
def dataset(log):
    return syncrec.prepare(log, out=log.parent / "data", max_history=12)


@pytest.fixture(scope="module")
def run(dataset):
    return syncrec.train(dataset, dataset.path.parent / "run", settings=TINY, show_progress=False)


@pytest.fixture(scope="module")
def related(tmp_path_factory):
    """A run with `model.reads = related` on a log in which three of five domains have to do with each other."""
    folder = tmp_path_factory.mktemp("related")
    simulate_log(folder / "log.csv", num_users=800, seed=4)
    data = syncrec.prepare(folder / "log.csv", out=folder / "data")
    settings = [*TINY, "training.epochs=1", "model.reads=related"]
    return syncrec.train(data, folder / "run", settings=settings, show_progress=False)


class TestPrepare:
    def test_it_gives_the_dataset(self, dataset):
        assert isinstance(dataset, syncrec.Dataset)
        assert (dataset.domains, dataset.num_users, dataset.max_history) == (DOMAINS, 50, 12)

    def test_sources_with_a_domain_and_lines_for_the_user(self, tmp_path):
        rows = "\n".join(f"u{user},i{item},{item}" for user in range(4) for item in range(6))
        (tmp_path / "books.csv").write_text(f"user,item,timestamp\n{rows}\n")
        lines = []
        made = syncrec.prepare(
            syncrec.Source(str(tmp_path / "books.csv"), "Books"), out=tmp_path / "data", report=lines.append
        )
        assert made.domains == ("Books",)
        assert lines[0].endswith("books.csv: 24 events")

    def test_an_unknown_setting_gets_the_nearest(self, log, tmp_path):
        with pytest.raises(ConfigError, match="did you mean 'max_history'"):
            syncrec.prepare(log, out=tmp_path / "data", max_histroy=5)


class TestTrain:
    def test_a_path_will_do_for_the_dataset_and_a_file_for_the_settings(self, dataset, tmp_path):
        (tmp_path / "settings.toml").write_text("[model]\ndim = 8\n[training]\nepochs = 1\nthreads = 1\n")
        made = syncrec.train(
            str(dataset.path), tmp_path / "run", config=tmp_path / "settings.toml", settings=["model.max_length=7"]
        )
        assert (made.config.model.dim, made.config.model.max_length, made.trained.epoch) == (8, 7, 0)

    def test_settings_and_model_go_over_a_config(self, dataset, tmp_path):
        config = syncrec.load_config(overrides=TINY)
        made = syncrec.train(dataset, tmp_path / "run", config=config, model="sasrec", settings=["training.epochs=1"])
        assert (made.config.model.name, made.config.model.dim, made.config.training.epochs) == ("sasrec", 16, 1)

    def test_a_dataset_without_validation_targets_is_refused(self, tmp_path):
        arrays = tiny_arrays()
        with artifacts.staged_directory(tmp_path / "data") as stage:
            no_validation = dataclasses.replace(arrays, train_end=arrays.validation_end)
            write_dataset(stage, no_validation, {"settings": {"max_history": None}})
        with pytest.raises(
            DataError, match="and 0 validation targets; both must be at least 1; prepare it with longer"
        ):
            syncrec.train(tmp_path / "data", tmp_path / "run", settings=TINY)
        assert not (tmp_path / "run").exists()

    def test_the_answers_do_not_depend_on_where_the_run_is_opened(self, run):
        opened = syncrec.open_run(run.path)
        assert opened.recommend("u1", "films", 5) == run.recommend("u1", "films", 5)


class TestEvaluate:
    def test_the_result_is_kept_with_what_it_came_from(self, run, dataset):
        result = run.evaluate(protocol="sampled-100", split="validation")
        content = json.loads((run.path / "results" / "validation-sampled-100-seed0.json").read_text())
        assert content["config"]["model"]["dim"] == 16
        assert content["fusion_weights"].keys() == set(DOMAINS)
        assert content["dataset_checksum"] == dataset.checksum
        loaded = load_result(run.path / "results" / "validation-sampled-100-seed0.json")
        for name, answer in result.answers.items():
            assert np.array_equal(loaded.answers[name].ranks, answer.ranks)

    def test_the_fused_answer_is_on_validation_no_worse_than_either(self, run):
        result = run.evaluate("validation")
        mrr = {name: summary_of(result, name) for name in result.answers}
        for domain in DOMAINS:
            assert mrr["fused"][domain] >= max(mrr["cross"][domain], mrr["single"][domain]) - 1e-12

    def test_the_log_holds_the_same_validation_as_an_evaluation(self, run):
        records = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
        logged = records[run.trained.epoch]["validation"]["cross"]["domains"]
        evaluated = summary_of(run.evaluate("validation"), "cross")
        assert evaluated == pytest.approx({domain: logged[domain]["mrr"] for domain in DOMAINS}, abs=1e-9)

    def test_popularity_ranks_by_training_events(self, dataset):
        result = fit_popularity(dataset).evaluate("validation")
        queries = dataset.queries("validation")
        counts = np.asarray(dataset.item_counts)
        start, stop = dataset.item_range(queries.domains[0])
        target, others = counts[queries.targets[0]], counts[start:stop]
        expected = 1 + np.sum(others > target) + (np.sum(others == target) - 1) / 2
        assert result.answers["popularity"].ranks[0] == expected

    def test_an_unfinished_run_answers_from_its_best_epoch(self, dataset, tmp_path, monkeypatch):
        epochs = iter(range(9))

        def stopping(end_epoch):
            def wrapper(self, *arguments):
                if next(epochs) == 1:
                    raise KeyboardInterrupt
                return end_epoch(self, *arguments)

            return wrapper

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Trainer, "_end_epoch", stopping(Trainer._end_epoch))
            syncrec.train(dataset, tmp_path / "run", settings=[*TINY, "training.epochs=3"])
        unfinished = syncrec.open_run(tmp_path / "run")
        assert unfinished.trained.epoch == 0
        assert {"cross", "single", "fused"} == set(unfinished.evaluate().answers)
        assert len(unfinished.recommend("u1", "films", 3)) == 3
        finished = syncrec.train(dataset, tmp_path / "run", resume=True)
        assert not list((tmp_path / "run" / "results").iterdir()), "an answer of an earlier epoch is none of the run"
        finished.evaluate()
        card = (tmp_path / "run" / "card.md").read_text()
        syncrec.train(dataset, tmp_path / "run", resume=True)
        assert [path.name for path in (tmp_path / "run" / "results").iterdir()] == ["test-full.json"]
        assert (tmp_path / "run" / "card.md").read_text() == card, "nothing was trained, so nothing is forgotten"

    def test_without_fusion_weights_there_is_no_fused_answer(self, run, tmp_path):
        copy = tmp_path / "job" / "run"
        shutil.copytree(run.path.parent, copy.parent)
        best = load_checkpoint(copy / BEST_NAME)
        state = {key: value for key, value in best.state.items() if key != "fusion_weights"}
        save_checkpoint(copy / BEST_NAME, best.tensors, state)
        assert {"cross", "single"} == set(syncrec.open_run(copy).evaluate().answers)


def summary_of(result, answer):
    """MRR of each domain."""
    domains = summarise(all_metrics(result.answers[answer].ranks), result.query_domains, result.domains).domains
    return {domain: values["mrr"] for domain, values in domains.items()}


class TestRecommend:
    def test_best_first_and_different_items(self, run):
        found = run.recommend("u1", "tools", k=7)
        assert [entry.rank for entry in found] == [1, 2, 3, 4, 5, 6, 7]
        assert len({entry.item for entry in found}) == 7
        assert [entry.score for entry in found] == sorted((entry.score for entry in found), reverse=True)

    def test_fused_lies_between_cross_and_single(self, run):
        scores = {
            answer: {entry.item: entry.score for entry in run.recommend("u1", "tools", 30, answer=answer)}
            for answer in ("cross", "single", "fused")
        }
        weight = run.trained.fusion_weights[DOMAINS.index("tools")]
        for item, score in scores["fused"].items():
            expected = (1 - weight) * scores["cross"][item] + weight * scores["single"][item]
            assert score == pytest.approx(expected, abs=1e-4)


def test_the_front_door_names_what_it_offers():
    assert all(getattr(syncrec, name) for name in syncrec.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        syncrec.trian  # noqa: B018


class TestReads:
    def test_the_run_keeps_what_was_found_and_goes_on_with_it(self, related, monkeypatch):
        found = [["books", "films", "music"], ["calls"], ["maps"]]
        assert related.directory.named_communities == found
        assert json.loads((related.path / "card.json").read_text())["communities"] == found
        monkeypatch.setattr("syncrec.fitting.domain_affinity", None)  # on resuming nothing is measured again
        again = syncrec.train(related.dataset, related.path, resume=True, show_progress=False)
        assert again.directory.communities == related.directory.communities

    def test_an_answer_depends_on_its_own_community_alone(self, related):
        data, recommender = related.dataset, related.recommender()
        for domain, own in (("maps", "maps"), ("books", "music")):
            first, elsewhere = (data.item_range(data.domain_index(name))[0] for name in (own, "calls"))
            history = np.arange(first, first + 3)
            disturbed = np.insert(history, 1, [elsewhere, elsewhere + 7])
            changed = np.insert(history, 1, [first + 90, first + 91])
            asked = [(items, np.zeros_like(items)) for items in (history, disturbed, changed)]
            number = np.full(3, data.domain_index(domain))
            base, same, other = recommender.vectors(asked, number)["cross"]
            torch.testing.assert_close(base, same)
            assert not torch.allclose(base, other)

    def test_all_are_read_if_that_is_asked_for_or_if_nothing_speaks_against_it(self, run, dataset, tmp_path):
        settings = [*TINY, "model.reads=all"]
        asked = syncrec.train(dataset, tmp_path / "run", settings=settings, show_progress=False)
        assert asked.directory.communities == ()
        assert run.directory.communities == (0, 0, 0)
        assert asked.directory.named_communities == run.directory.named_communities == [list(DOMAINS)]
