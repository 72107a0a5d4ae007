"""The command compare as its user meets it."""

import json

import numpy as np
import pytest

from syncrec.evaluation import AnswerRanks, EvaluationResult, Provenance, save_result

NUM_QUERIES = 120


def write_result(path, model="sasrec", seed=0, worst=20, **changes):
    rng = np.random.default_rng([seed, worst])
    names = {"sasrec": ["cross"], "popularity": ["popularity"]}.get(model, ["cross", "single", "fused"])
    fields = {
        "provenance": Provenance(model, seed, {"model": {"name": model}, "training": {"seed": seed}}),
        "protocol": "full",
        "split": "test",
        "negatives_seed": 0,
        "dataset_checksum": "abc",
        "domains": ("Food", "Kitchen"),
        "users": tuple(f"u{q}" for q in range(NUM_QUERIES)),
        "query_domains": np.arange(NUM_QUERIES) % 2,
        "answers": {name: AnswerRanks(rng.integers(1, worst, NUM_QUERIES).astype(float)) for name in names},
    }
    save_result(path, EvaluationResult(**{**fields, **changes}))
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with results of two models of two seeds each, and of popularity."""
    for seed in (0, 1):
        write_result(tmp_path / f"sasrec-{seed}.json", "sasrec", seed)
        write_result(tmp_path / f"syncrec-{seed}.json", "syncrec", seed, worst=4)
    write_result(tmp_path / "popularity.json", "popularity", worst=90)
    monkeypatch.chdir(tmp_path)
    return tmp_path


FILES = ["sasrec-0.json", "syncrec-0.json", "syncrec-1.json", "sasrec-1.json", "popularity.json"]


def compared(call, *arguments):
    """What `compare` writes as JSON, by (group, domain)."""
    code, _, err = call("compare", *arguments, "--json", "out.json")
    assert (code, err) == (0, "")
    with open("out.json", encoding="utf-8") as file:  # noqa: PTH123
        content = json.load(file)
    return content, {(row["group"], row["domain"]): row for row in content["rows"]}


class TestCompare:
    def test_seeds_of_a_model_are_one_group_and_the_first_is_the_baseline(self, call, here):
        code, out, _ = call("compare", *FILES)
        assert code == 0
        text = " ".join(out.split())
        assert "sasrec sasrec cross 0, 1 " in text
        assert "syncrec syncrec fused 0, 1 " in text
        assert "popularity popularity popularity 0" in text
        assert "full, test split, mean ± standard deviation over seeds domain queries group HR@10" in text
        assert "NDCG@10 against sasrec: full, test split domain group baseline mean change 95 % interval p verd" in text
        assert "Food syncrec" in text
        assert "gains" in text
        assert "loses" in text

    def test_the_json_holds_what_is_shown(self, call, here):
        content, rows = compared(call, *FILES, "--metric", "mrr")
        assert (content["kind"], content["baseline"], content["metric"]) == ("comparison", "sasrec", "mrr")
        assert rows["syncrec", "Food"]["difference"]["verdict"] == "gains"
        assert rows["popularity", "mean of domains"]["difference"]["verdict"] == "loses"
        assert rows["sasrec", "Kitchen"]["difference"] is None

    @pytest.mark.parametrize("baseline", ["syncrec", "2"])
    def test_another_baseline_by_label_or_number(self, call, here, baseline):
        content, rows = compared(call, *FILES, "--baseline", baseline)
        assert content["baseline"] == "syncrec"
        assert rows["sasrec", "Food"]["difference"]["verdict"] == "loses"

    def test_labels_and_answers_by_file(self, call, here):
        content, _ = compared(call, "one=syncrec-0.json:single", "two=syncrec-0.json:cross", "syncrec-1.json")
        assert [(g["label"], g["answer"]) for g in content["groups"]] == [
            ("one", "single"),
            ("two", "cross"),
            ("syncrec", "fused"),
        ]

    def test_the_answer_option_is_for_models_with_several(self, call, here):
        content, _ = compared(call, *FILES, "--answer", "single")
        assert [g["answer"] for g in content["groups"]] == ["cross", "single", "popularity"]

    def test_a_file_with_odd_characters_is_found(self, call, here):
        (here / "lr=0.1:x.json").write_bytes((here / "sasrec-0.json").read_bytes())
        content, _ = compared(call, "lr=0.1:x.json", "tuned=lr=0.1:x.json", "odd=lr=0.1:x.json:cross")
        assert [g["label"] for g in content["groups"]] == ["sasrec", "tuned", "odd"]

    def test_results_of_the_command_evaluate_are_compared(self, call, place, tmp_path):
        assert call("evaluate", place / "run", "--json", tmp_path / "r.json")[0] == 0
        code, out, _ = call("compare", f"{tmp_path / 'r.json'}:cross", f"{tmp_path / 'r.json'}:fused")
        assert code == 0
        assert "NDCG@10 against syncrec cross: full, test split" in out

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"dataset_checksum": "other"},
                "results differ in dataset_checksum: 'abc' and 'other' (sasrec-0.json and x.json); evaluate all on one",
            ),
            ({"protocol": "sampled-100"}, "in protocol: 'full' and 'sampled-100' (sasrec-0.json and x.json); evaluate"),
            (
                {"split": "validation"},
                "in split: 'test' and 'validation' (sasrec-0.json and x.json); evaluate all with",
            ),
            ({"users": ("zoe",) * NUM_QUERIES}, "hold different queries (sasrec-0.json and x.json); evaluate them ag"),
            ({}, "group 'sasrec' holds seed 0 twice (sasrec-0.json and x.json); give each training seed once, or one"),
        ],
    )
    def test_results_that_do_not_compare_are_refused(self, refused, here, changes, message):
        write_result(here / "x.json", **changes)
        code, line = refused("compare", "sasrec-0.json", "x.json")
        assert code == 1
        assert message in line

    def test_results_of_other_negatives_are_refused(self, refused, here):
        for seed in (0, 1):
            sampled = {"protocol": "sampled-999", "num_eligible": np.full(NUM_QUERIES, 2000), "negatives_seed": seed}
            answers = {"cross": AnswerRanks(np.ones(NUM_QUERIES), np.zeros(NUM_QUERIES, dtype=np.int64))}
            write_result(here / f"negatives-{seed}.json", seed=seed, answers=answers, **sampled)
        code, line = refused("compare", "negatives-0.json", "negatives-1.json")
        assert code == 1
        assert line == (
            "results differ in negatives_seed: 0 and 1 (negatives-0.json and negatives-1.json); "
            "evaluate all with the same --seed, so that they meet the same negatives"
        )

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            ([], 2, "RESULTS requires an argument"),
            (["nowhere.json"], 1, "nowhere.json: no such file (a result of `syncrec evaluate`)"),
            (["a=nowhere.json:cross"], 1, "nowhere.json: no such file (a result of `syncrec evaluate`)"),
            (["=sasrec-0.json"], 2, "a result is FILE, LABEL=FILE or LABEL=FILE:ANSWER, got '=sasrec-0.json'"),
            (["a="], 2, "got 'a='"),
            (["sasrec-0.json:"], 2, "got 'sasrec-0.json:'"),
            (["."], 2, ".: is a directory; give result files, for example ./results/test-full.json"),
            (["broken.json"], 1, "broken.json: a result of `syncrec evaluate` is damaged"),
            (["syncrec-0.json", "--metric", "ndgc@10"], 1, "unknown metric 'ndgc@10'; nearest: 'ndcg@10'"),
            (
                ["syncrec-0.json", "--answer", "fussed"],
                1,
                "unknown answer 'fussed'; nearest: 'fused'; the answers of s",
            ),
            (["sasrec-0.json:fused"], 1, "unknown answer 'fused'; the answers of sasrec are cross"),
            (
                ["sasrec-0.json", "--baseline", "syncrec"],
                1,
                "unknown group 'syncrec'; nearest: 'sasrec'; the groups ar",
            ),
            (["sasrec-0.json", "--baseline", "2"], 1, "unknown group '2'; the groups are sasrec"),
            (["a=sasrec-0.json", "a=syncrec-1.json"], 1, "group 'a' is of two answers, 'cross' (sasrec-0.json) and 'f"),
            (["a=sasrec-0.json", "a=syncrec-1.json:cross"], 1, "group 'a' is of two models, 'sasrec' (sasrec-0.json)"),
            (["sasrec-0.json", "--json", "."], 1, ".: is a directory; give the name of a file"),
        ],
    )
    def test_refusals(self, refused, here, arguments, code, message):
        (here / "broken.json").write_text("{")
        found, line = refused("compare", *arguments)
        assert found == code
        assert message in line


def test_a_result_that_is_compared_is_not_written_over(call, here):
    before = (here / "sasrec-0.json").read_bytes()
    code, _, errors = call("compare", "sasrec-0.json", "syncrec-0.json", "--json", here / "sasrec-0.json")
    assert code == 1
    assert "sasrec-0.json: exists already and is no comparison; remove it, or choose another file" in errors
    assert (here / "sasrec-0.json").read_bytes() == before


def test_domains_of_other_names_are_another_dataset(call, here):
    write_result(here / "renamed.json", "syncrec", domains=("food", "kitchen"))
    code, _, errors = call("compare", "sasrec-0.json", "renamed.json")
    assert code == 1
    assert "results differ in domains" in errors
    assert "evaluate all on one prepared dataset" in errors
