"""The commands evaluate and recommend as their user meets them."""

import json

import polars as pl
import pytest

from jobs import NUM_ITEMS, TINY, as_options, names_in
from syncrec.baselines import fit_popularity
from syncrec.data.dataset import Dataset
from syncrec.evaluation import load_result
from syncrec.runs import RunDirectory


def shown_mrr(result):
    """MRR of each domain and their mean, as tables show it."""
    summary = result.summary("popularity")
    return [f"{values['mrr']:.4f}" for values in (*summary.domains.values(), summary.macro)]


class TestEvaluate:
    @pytest.mark.parametrize("protocol", ["full", "full-unseen", "sampled-999", "sampled-100"])
    def test_every_protocol_prints_tables_and_writes_the_result(self, call, place, tmp_path, protocol):
        code, out, _ = call(
            "evaluate", place / "run", "--protocol", protocol, "--split", "validation", "--json", tmp_path / "r.json"
        )
        assert code == 0
        title = f"{protocol}, validation split, 1 seed"
        text = " ".join(out.split())
        assert text.startswith(f"{title} domain queries answer HR@10")
        for answer in ("cross", "fused"):
            assert f"NDCG@10 of syncrec {answer} against syncrec single: {title} domain queries baseline" in text
        assert {"cross", "single", "fused"} == set(load_result(tmp_path / "r.json").answers)
        assert out.splitlines()[-1] == f"result: {tmp_path / 'r.json'}"

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["nowhere"], 1, "nowhere: no such run; `syncrec train DATASET --out nowhere` makes one"),
            (["{place}/data"], 1, "holds no run.json, so it is no run; `syncrec train` makes one"),
            (["{place}/run", "--protocol", "sampled-99"], 1, "unknown protocol 'sampled-99'; nearest: 'sampled-999'"),
            (["{place}/run", "--split", "tset"], 2, 'Did you mean "test"?  (see syncrec evaluate --help)'),
            (["{place}/run", "--json", "{place}/data"], 1, "data: is a directory; give the name of a file"),
            (
                ["{place}/run", "--json", "{place}/run/config.toml"],
                1,
                "config.toml: exists already and is no evaluation",
            ),
            (["{place}/run", "more"], 2, "Unused Tokens: ['more']."),
            ([], 2, "RUN requires an argument"),
        ],
    )
    def test_refusals(self, refused, place, arguments, code, message):
        found, line = refused("evaluate", *(a.format(place=place) for a in arguments))
        assert found == code
        assert message in line

    def test_the_floor_knows_what_the_run_knows(self, call, place, tmp_path):
        """Popularity counts validation events where the run was fitted on them, and never asked for them otherwise."""
        run = tmp_path / "run"
        settings = as_options([*TINY, "training.refit=validation"])
        assert call("train", place / "data", "--out", run, *settings)[0] == 0
        data = Dataset(place / "data")
        test = {refit: shown_mrr(fit_popularity(data, refit).evaluate()) for refit in ("none", "validation")}
        assert test["none"] != test["validation"]
        expected = {"test": test["validation"], "validation": shown_mrr(fit_popularity(data).evaluate("validation"))}
        for split, floor in expected.items():
            _, text, _ = call("evaluate", run, "--split", split)
            assert [line.split()[-1] for line in text.splitlines() if " popularity " in line] == floor

    def test_a_dataset_that_was_moved_is_found_with_the_option(self, refused, call, copy):
        (copy / "data").rename(copy / "moved")
        code, line = refused("evaluate", copy / "run")
        assert code == 1
        assert line.endswith("is gone; if it was moved, give --dataset")
        assert call("recommend", copy / "run", "--dataset", copy / "moved", "--user", "u1", "--domain", "books")[0] == 0

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda p: (p / "data/items.npy").unlink(), "items.npy: missing; the dataset is damaged, make it again"),
            (lambda p: (p / "data/items.npy").write_bytes(b"x"), "1 bytes where the manifest says"),
            (lambda p: flip_last_byte(p / "data/items.npy"), "items.npy: altered since it was written"),
            (lambda p: (p / "data/manifest.json").unlink(), "no manifest.json: not a dataset, or one that was never"),
            (lambda p: (p / "run/best.safetensors").unlink(), "no such checkpoint; train the run first"),
            (lambda p: (p / "run/best.safetensors").write_bytes(b"x" * 99), "best.safetensors: damaged checkpoint"),
            (lambda p: (p / "run/config.toml").unlink(), "config.toml: no such configuration file"),
            (lambda p: (p / "run/run.json").write_text("{"), "what a run was trained on is damaged: "),
            (lambda p: (p / "run/run.json").write_text("[]"), "damaged: expected a JSON object, got a list"),
        ],
    )
    def test_damage_is_named(self, refused, copy, damage, message):
        damage(copy)
        code, line = refused("evaluate", copy / "run")
        assert code == 1
        assert message in line


def flip_last_byte(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


class TestRecommend:
    def test_lines_and_json_say_the_same(self, call, place):
        lines = call("recommend", place / "run", "--user", "u3", "--domain", "films", "-k", 4)[1].splitlines()
        entries = json.loads(
            call("recommend", place / "run", "--user", "u3", "--domain", "films", "-k", 4, "--json")[1]
        )
        assert [entry["rank"] for entry in entries] == [1, 2, 3, 4]
        assert lines == [f"{e['rank']:4d}  {e['item']:24}  {e['score']:.4f}" for e in entries]

    def test_k_above_the_catalogue_gives_the_catalogue(self, call, place):
        code, out, _ = call("recommend", place / "run", "--user", "u3", "--domain", "films", "--top", 10**6)
        assert (code, len(out.splitlines())) == (0, NUM_ITEMS)

    @pytest.mark.parametrize("history", ["", "  ", "books:b1", "books:b1, tools:t2"])
    def test_a_history_of_any_length_gets_an_answer(self, call, place, history):
        code, out, _ = call("recommend", place / "run", "--history", history, "--domain", "films", "-k", 2)
        assert (code, len(out.splitlines())) == (0, 2)

    def test_seen_items_are_left_out(self, call, place):
        question = ["recommend", place / "run", "--history", "films:f1,films:f2", "--domain", "films", "-k", 99]
        all_items, unseen = (
            {line.split()[1] for line in call(*question, *options)[1].splitlines()}
            for options in ([], ["--exclude-seen"])
        )
        assert all_items - unseen == {"f1", "f2"}

    def test_nothing_left_is_said(self, call, place):
        history = ",".join(f"films:f{i}" for i in range(NUM_ITEMS))
        question = ["recommend", place / "run", "--history", history, "--domain", "films", "--exclude-seen"]
        assert call(*question)[1] == "no item of films is left to recommend\n"
        assert call(*question, "--json")[1] == "[]\n"

    def test_all_users_in_one_file(self, call, place, tmp_path):
        out = tmp_path / "deep" / "recs.parquet"
        code, text, _ = call("recommend", place / "run", "--all", "--domain", "tools", "-k", 3, "--out", out)
        assert (code, text) == (0, f"recommendations: {out}  (150 rows)\n")
        frame = pl.read_parquet(out)
        assert frame.columns == ["user", "rank", "item", "score"]
        one = json.loads(call("recommend", place / "run", "--user", "u7", "--domain", "tools", "-k", 3, "--json")[1])
        assert frame.filter(pl.col("user") == "u7")["item"].to_list() == [entry["item"] for entry in one]

    def test_all_users_on_two_workers(self, call, place, tmp_path):
        question = ["recommend", place / "run", "--all", "--domain", "tools", "-k", 3, "--out"]
        assert call(*question, tmp_path / "here.parquet")[0] == 0
        there = tmp_path / "there.parquet"
        code, text, err = call(*question, there, "--engine", "processes", "--workers", 2)
        assert (code, text, err) == (0, f"recommendations: {there}  (150 rows)\n", "")
        assert pl.read_parquet(there).equals(pl.read_parquet(tmp_path / "here.parquet"))

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["--user", "u3", "--domain", "films", "-k", "0"], 1, "k must be at least 1, got 0"),
            (["--user", "u3", "--domain", "films", "-k", "-1"], 1, "k must be at least 1, got -1"),
            (["--user", "u3", "--domain", "films", "-k", "ten"], 2, 'unable to convert "ten" into int'),
            (["--user", "u333", "--domain", "films"], 1, "unknown user 'u333'; nearest: 'u3"),
            (
                ["--user", "u3", "--domain", "flims"],
                1,
                "unknown domain 'flims'; nearest: 'films'; the domains are book",
            ),
            (["--user", "u3"], 2, "--domain requires an argument.  (see syncrec recommend --help)"),
            (["--domain", "films"], 2, "takes exactly one of --user, --history and --all, got 0"),
            (["--domain", "films", "--user", "u3", "--history", ""], 2, "exactly one of --user, --history and --all"),
            (["--domain", "films", "--history", "films"], 2, "--history takes domain:item,domain:item in order of tim"),
            (["--domain", "films", "--history", "films:"], 2, "got 'films:'"),
            (["--domain", "films", "--history", ":f1"], 2, "got ':f1'"),
            (["--domain", "films", "--history", "films:f1,,films:f2"], 2, "got ''"),
            (["--domain", "films", "--history", "films:f999"], 1, "unknown item of films 'f999'"),
            (["--domain", "films", "--history", "flims:f1"], 1, "unknown domain 'flims'; nearest: 'films'"),
            (["--domain", "films", "--all"], 2, "--all and --out go together"),
            (["--domain", "films", "--user", "u3", "--out", "{new}"], 2, "--all and --out go together"),
            (["--domain", "flims", "--all", "--out", "{new}.parquet"], 1, "unknown domain 'flims'"),
            (["--domain", "films", "--all", "--out", "{new}.parquet", "-k", "0"], 1, "k must be at least 1, got 0"),
            (["--domain", "films", "--all", "--out", "{place}/data"], 2, "data; give a name in .parquet"),
            (["--domain", "films", "--all", "--out", "{place}/log.csv/x.parquet"], 1, "x.parquet: cannot be written: "),
            (["--domain", "films", "--user", "u3", "--engine", "processes"], 2, "--engine is for --all"),
            (
                ["--domain", "films", "--all", "--out", "{new}.parquet", "--workers", "2"],
                2,
                "--workers and --address need --e",
            ),
            (["--domain", "films", "--user", "u3", "--answer", "best"], 2, 'Choose from: "fused", "cross", "single".'),
        ],
    )
    def test_refusals_leave_nothing_behind(self, refused, place, tmp_path, arguments, code, message):
        found, line = refused(
            "recommend", place / "run", *(a.format(place=place, new=tmp_path / "new") for a in arguments)
        )
        assert found == code
        assert message in line
        assert names_in(tmp_path) == []


def test_answers_of_a_training_that_has_not_ended_are_told_as_such(call, copy, monkeypatch):
    assert call("evaluate", copy / "run")[2] == ""
    monkeypatch.setattr(RunDirectory, "is_finished", lambda _: False)
    for command in (["evaluate", copy / "run"], ["report", copy / "run", "--out", copy / "r.html", "--users", "0"]):
        code, _, err = call(*command)
        assert code == 0
        assert f"{copy / 'run'}: its training has not ended; these are the answers of the best epoch so far" in err


def test_recommendations_of_all_users_are_parquet_by_name_too(refused, place, tmp_path):
    code, line = refused("recommend", place / "run", "--all", "--domain", "books", "--out", tmp_path / "r.csv")
    assert (code, line) == (2, f"--out is a Parquet file, got {tmp_path / 'r.csv'}; give a name in .parquet")
