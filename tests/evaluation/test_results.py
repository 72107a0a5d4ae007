import json

import numpy as np
import pytest

from syncrec.errors import ArtifactError, UnknownNameError
from syncrec.evaluation import AnswerRanks, EvaluationResult, Provenance, load_result, save_result, versions


def make_result(sampled=False, **changes):
    fields = {
        "provenance": Provenance(
            "syncrec", 3, {"model": {"dim": 8}}, versions(torch="2.6"), {"Food": 0.0, "Kitchen": 0.4}
        ),
        "protocol": "sampled-999" if sampled else "full",
        "split": "test",
        "negatives_seed": 5,
        "dataset_checksum": "abc",
        "domains": ("Food", "Kitchen", "Empty"),
        "users": ("ann", "bob", "zoë"),
        "query_domains": np.array([0, 1, 0]),
        "answers": {"cross": AnswerRanks(np.array([1.0, 2.5, 4.0]), np.array([0, 3, 8]) if sampled else None)},
        "num_eligible": np.array([2000, 500, 2000]) if sampled else None,
    }
    return EvaluationResult(**{**fields, **changes})


@pytest.mark.parametrize("sampled", [False, True])
def test_saved_result_is_read_back_whole(tmp_path, sampled):
    result = make_result(sampled)
    save_result(tmp_path / "a.json", result)
    found = load_result(tmp_path / "a.json")
    save_result(tmp_path / "b.json", found)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert found.provenance == result.provenance
    assert found.users == result.users
    assert found.answers["cross"].ranks.tolist() == [1.0, 2.5, 4.0]
    assert found.summary("cross") == result.summary("cross")


def test_file_says_what_the_numbers_mean(tmp_path):
    save_result(tmp_path / "r.json", make_result(sampled=True))
    value = json.loads((tmp_path / "r.json").read_text())
    head = {"model": "syncrec", "seed": 3, "protocol": "sampled-999", "split": "test", "negatives_seed": 5}
    assert {key: value[key] for key in head} == head
    assert value["num_queries"] == {"Food": 2, "Kitchen": 1, "Empty": 0}
    assert set(value["versions"]) == {"python", "numpy", "syncrec", "torch"}
    assert value["metrics"]["cross"]["drawn"]["domains"]["Food"]["mrr"] == 1 / 2 * (1 + 1 / 4)
    assert value["metrics"]["cross"]["expected"]["domains"]["Kitchen"]["mrr"] == pytest.approx(1 / 4)
    assert "Empty" not in value["metrics"]["cross"]["drawn"]["domains"]


def test_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        save_result(tmp_path / "r.json", make_result(answers={"cross": AnswerRanks(np.array([1.0, np.nan, 2.0]))}))
    assert not list(tmp_path.iterdir())


def test_expected_metrics_of_full_ranking_are_refused():
    with pytest.raises(ArtifactError, match="'full' draws no negatives"):
        make_result().summary("cross", "expected")


def test_unknown_answer_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="the answers are cross"):
        make_result().values("single")


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 9}, "is kind 'evaluation' of schema version 9; expected 'evaluation' of version 1"),
        ({"kind": "dataset"}, "is kind 'dataset'"),
        ({"users": ["ann"]}, "one entry for each of the 1 queries"),
        ({"users": None}, "damaged, TypeError"),
        ({"answers": {"cross": {"ranks": [0, 1, 1], "num_above": None}}}, "no number of at least 1"),
        ({"answers": {"cross": {"num_above": None}}}, "damaged, KeyError: 'ranks'"),
        ({"query_domains": [0, 1, 7]}, "domain number outside"),
        ({"seed": "a"}, "r.json: damaged, TypeError: seed is 'a', no int; evaluate again"),
        ({"seed": None}, "seed is None, no int"),
        ({"model": 3}, "model is 3, no str"),
        ({"config": None}, "config is None, no dict"),
        ({"answers": {}}, "no answers, or no queries"),
        ({"protocol": "fulll"}, "r.json: damaged, UnknownNameError: unknown protocol 'fulll'"),
    ],
)
def test_altered_file_is_recognised(tmp_path, changes, message):
    path = tmp_path / "r.json"
    save_result(path, make_result())
    change(path, **changes)
    with pytest.raises(ArtifactError, match=message):
        load_result(path)


def test_missing_and_cut_files_are_recognised(tmp_path):
    with pytest.raises(ArtifactError, match=r"no such file \(a result of"):
        load_result(tmp_path / "r.json")
    save_result(tmp_path / "r.json", make_result())
    (tmp_path / "r.json").write_text((tmp_path / "r.json").read_text()[:200])
    with pytest.raises(ArtifactError, match="is damaged"):
        load_result(tmp_path / "r.json")
    (tmp_path / "r.json").write_text("[]")
    with pytest.raises(ArtifactError, match="expected a JSON object, got a list"):
        load_result(tmp_path / "r.json")
