"""The commands prepare and train as their user meets them."""

import re
import sys

import pytest

from jobs import DOMAINS, TINY, as_options, names_in, real_log
from syncrec.data.dataset import Dataset
from syncrec.evaluation import load_result

TINY_OPTIONS = as_options(TINY)


class TestMainJob:
    def test_real_log_from_prepare_to_recommendations(self, call, tmp_path):
        log, data, run = real_log(), tmp_path / "data", tmp_path / "run"
        code, out, err = call("prepare", log, "--out", data, "--max-history", 20)
        assert code == 0
        assert re.search(r"^dataset: .*data  \([\d,]+ events, 500 users, [\d,]+ items\)$", out, re.MULTILINE)
        assert "16,123 events" in err
        settings = as_options(["model.dim=8", "training.epochs=1", "training.threads=1", "loss.kind=sampled"])
        code, out, err = call("train", data, "--out", run, *settings)
        assert (code, err) == (0, "")
        assert "best epoch 1" in out
        assert "weight of the single answer: Books " in out
        code, out, _ = call("evaluate", run, "--json", tmp_path / "result.json")
        assert code == 0
        assert "full, test split" in out
        assert (
            load_result(tmp_path / "result.json").num_queries.keys()
            == load_result(run / "results" / "test-full.json").num_queries.keys()
        )
        code, out, _ = call("recommend", run, "--user", "A2NQ50LAQCKXPR", "--domain", "Video_Games", "-k", 3)
        assert code == 0
        assert [line.split()[0] for line in out.splitlines()] == ["1", "2", "3"]


class TestPrepare:
    def test_counts_of_each_domain_and_the_total_are_printed(self, call, place, tmp_path):
        code, out, err = call("prepare", place / "log.csv", "--out", tmp_path / "data", "--min-user-interactions", 8)
        assert code == 0
        assert [line.partition(":")[0] for line in out.splitlines()] == [*DOMAINS, "dataset"]
        assert re.search(r"^filter k-core \(min_user_interactions 8\): .* 50 users, .* -> ", err, re.MULTILINE)

    def test_a_filter_that_leaves_all_says_so(self, call, place, tmp_path):
        assert (
            "filter k-core: nothing to leave out"
            in call("prepare", place / "log.csv", "--out", tmp_path / "data", "--min-user-interactions", 1)[2]
        )

    def test_files_of_one_domain_each_and_other_column_names(self, call, tmp_path):
        for name in ("a", "b"):
            rows = "\n".join(f"u{user},{name}{item},{item}" for user in range(4) for item in range(6))
            (tmp_path / f"{name}.csv").write_text(f"who,what,when\n{rows}\n")
        domains = ["--domain", f"B={tmp_path / 'b.csv'}", "--domain", f"A={tmp_path / 'a.csv'}"]
        code, out, _ = call(
            "prepare", *domains, "--columns", "user=who,item=what,timestamp=when", "--out", tmp_path / "data"
        )
        assert code == 0
        assert [line.partition(":")[0] for line in out.splitlines()] == ["B", "A", "dataset"]

    def test_two_workers_print_and_make_the_same(self, call, place, tmp_path):
        here = call("prepare", place / "log.csv", "--out", tmp_path / "here")
        there = call("prepare", place / "log.csv", "--out", tmp_path / "there", "--engine", "processes", "--workers", 2)
        assert there == tuple(str(part).replace("/here", "/there") if i else 0 for i, part in enumerate(here))
        assert names_in(tmp_path) == ["here", "there"]
        assert Dataset(tmp_path / "here").checksum == Dataset(tmp_path / "there").checksum

    def test_overwrite_replaces_an_older_dataset(self, call, copy):
        assert call("prepare", copy / "log.csv", "--out", copy / "data", "--overwrite", "--max-history", 5)[0] == 0

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["{place}/log.csv", "--out", "{place}/data"], 1, "exists already; choose another --out, or replace it"),
            (["{place}/log.csv", "--out", "{place}/log.csv"], 1, "exists and is no directory"),
            (["{place}/log.csv", "--out", "{place}/log.csv/data"], 1, "log.csv/data: cannot be written: "),
            (["nothing.csv", "--out", "{new}"], 1, "nothing.csv: no such file"),
            (["nothing*.csv", "--out", "{new}"], 1, "nothing*.csv: matches no file"),
            (["{place}/data", "--out", "{new}"], 1, "is a directory; name its files"),
            (["--out", "{new}"], 1, "no input: name at least one log"),
            (["{place}/log.csv", "--out", "{new}", "--workers", "2"], 2, "--workers and --address need --engine"),
            (["{place}/log.csv", "--out", "{new}", "--engine", "spark"], 2, 'Choose from: "processes", "dask"'),
            (["{place}/log.csv", "--out", "{new}", "--engine", "dask", "--workers", "0"], 1, "workers must be at leas"),
            (["{place}/log.csv", "--out", "{new}", "--engine", "processes", "--address", "a:1"], 1, "has none, take"),
            (["--domain", "books.csv", "--out", "{new}"], 2, "--domain takes NAME=FILE, got 'books.csv'"),
            (["{place}/log.csv", "--out", "{new}", "--columns", "user"], 2, "--columns takes name=value pairs, got"),
            (["{place}/log.csv", "--out", "{new}", "--columns", "user=who"], 1, "no column 'who' among 'user', "),
            (["{place}/log.csv", "--out", "{new}", "--preset", "amazon"], 1, "unknown preset 'amazon'; nearest: "),
            (["{place}/log.csv", "--out", "{new}", "--split", "temporal"], 1, "needs validation_from"),
            (["{place}/log.csv", "--out", "{new}", "--min-user-interactions", "99"], 1, "nothing is left by the"),
            (
                ["{place}/log.csv", "--out", "{new}", "--min-user-interactions", "0", "--max-history", "all"],
                2,
                "min_user_interactions must be greater than or equal to 1, got '0'; max_history must be",
            ),
            (["{place}/log.csv"], 2, "--out requires an argument"),
        ],
    )
    def test_refusals(self, refused, place, tmp_path, arguments, code, message):
        before = names_in(place)
        given = [a.format(place=place, new=tmp_path / "new") for a in arguments]
        assert refused("prepare", *given)[0] == code
        assert message in refused("prepare", *given)[1]
        assert (names_in(tmp_path), names_in(place)) == ([], before)


class TestTrain:
    def test_a_model_without_a_single_answer_has_no_weights_to_print(self, call, place, tmp_path):
        code, out, _ = call("train", place / "data", "--out", tmp_path / "run", "--model", "sasrec", *TINY_OPTIONS)
        assert (code, out) == (0, f"run: {tmp_path / 'run'}  (best epoch {out.split()[-1]}\n")

    def test_settings_come_from_the_file_and_then_from_the_options(self, call, place, tmp_path):
        (tmp_path / "settings.toml").write_text("[model]\ndim = 8\nmax_length = 9\n[training]\nepochs = 1\n")
        code, *_ = call(
            "train",
            place / "data",
            "--out",
            tmp_path / "run",
            "--config",
            tmp_path / "settings.toml",
            *TINY_OPTIONS[:2],
        )
        assert code == 0
        text = (tmp_path / "run" / "config.toml").read_text()
        assert all(line in text for line in ("dim = 16", "max_length = 9", "epochs = 1"))

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["nowhere", "--out", "{new}"], 1, "nowhere: no such dataset"),
            (["{place}/run", "--out", "{new}"], 1, "no manifest.json: not a dataset"),
            (["{place}/data", "--out", "{place}/run"], 1, "exists already; choose another --out, or continue it with"),
            (["{place}/data", "--out", "{place}/data"], 1, "exists already; choose another --out"),
            (["{place}/data", "--out", "{place}/data", "--resume"], 1, "holds no run.json, so it is no run"),
            (
                ["{place}/log.csv", "--out", "{new}"],
                1,
                "log.csv: is a file, no prepared dataset; make one of it: syncrec",
            ),
            (["{place}/data", "--out", "{place}/log.csv/run"], 1, "log.csv/run: "),
            (["{place}/data", "--out", "{new}", "--epoch", "3"], 2, "Unknown option: --epoch.  (see syncrec train --h"),
            (["{place}/data", "--out", "{new}", "--track", "x"], 2, 'Invalid value "x" for --track.'),
            (["{place}/data", "--out", "{new}", "--set", "epochs=3"], 1, "--set takes section.key=value, got"),
            (["{place}/data", "--out", "{new}", "--set", "training.epoch=3"], 1, "did you mean 'training.epochs'?"),
            (["{place}/data", "--out", "{new}", "--set", "training.epochs=0"], 1, "equal to 1, got 0"),
            (["{place}/data", "--out", "{new}", "--set", "training.device=tpu9"], 1, "must be auto, cpu, cuda"),
            (["{place}/data", "--out", "{new}", "--model", "sasrc"], 1, "unknown model 'sasrc'; did you mean 'sasrec'"),
            (["{place}/data", "--out", "{new}", "--config", "no.toml"], 1, "no.toml: no such configuration file"),
            (["{place}/data", "--out", "{new}", "--config", "{place}/log.csv"], 1, "log.csv: is not TOML: "),
            (["{place}/data", "--out", "{new}", "--config", "{place}/data"], 1, "data: Is a directory"),
        ],
    )
    def test_refusals_leave_nothing_behind(self, refused, place, tmp_path, arguments, code, message):
        given = [a.format(place=place, new=tmp_path / "new") for a in arguments]
        found, line = refused("train", *given)
        assert found == code
        assert message in line
        assert names_in(tmp_path) == []

    def test_a_missing_tracker_leaves_nothing_behind(self, refused, place, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "mlflow", None)
        code, line = refused("train", place / "data", "--out", tmp_path / "run", "--track", "mlflow")
        assert (code, names_in(tmp_path)) == (1, [])
        assert line == "--track mlflow needs the package mlflow-skinny; pip install 'syncrec[mlflow]'"

    @pytest.mark.parametrize("other", [["--set", "model.dim=32"], ["--model", "sasrec"]])
    def test_resume_with_other_settings_names_them(self, refused, place, other):
        code, line = refused("train", place / "data", "--out", place / "run", "--resume", *TINY_OPTIONS, *other)
        assert code == 1
        expected = {"--set": "model.dim = 32 (was 16)", "--model": "model.name = 'sasrec' (was 'syncrec')"}[other[0]]
        assert f"was begun with, but asked for is {expected}; leave out" in line

    def test_resume_where_nothing_is_says_that_it_begins(self, call, place, tmp_path):
        code, _, err = call("train", place / "data", "--out", tmp_path / "new", "--resume", *TINY_OPTIONS)
        assert code == 0
        assert f"{tmp_path / 'new'}: nothing to continue there; a new training begins\n" in err

    @pytest.mark.parametrize("options", [[], TINY_OPTIONS])
    def test_resume_of_a_finished_run_leaves_it_as_it_is(self, call, copy, options):
        before = {path.name: path.read_bytes() for path in (copy / "run").iterdir() if path.is_file()}
        assert call("train", copy / "data", "--out", copy / "run", "--resume", *options)[0] == 0
        assert {path.name: path.read_bytes() for path in (copy / "run").iterdir() if path.is_file()} == before

    def test_resume_on_another_dataset_is_refused(self, refused, call, place, tmp_path):
        assert call("prepare", place / "log.csv", "--out", tmp_path / "data", "--max-history", 5)[0] == 0
        code, line = refused("train", tmp_path / "data", "--out", place / "run", "--resume")
        assert code == 1
        assert "is not the dataset that" in line
