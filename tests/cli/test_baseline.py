"""The command `baseline`: models that need no run."""

import numpy as np
import pytest

from syncrec.baselines import fit_neighbours, fit_popularity
from syncrec.evaluation import load_result


def test_it_ranks_under_each_protocol_and_keeps_the_results(call, tiny_dataset, tmp_path):
    out = tmp_path / "out"
    protocols = ("--protocol", "full", "--protocol", "sampled-100")
    code, text, errors = call("baseline", "item-knn", str(tiny_dataset.path), *protocols, "--out", str(out))
    assert (code, errors) == (0, "")
    for name in ("test-full", "test-sampled-100-seed0"):
        result = load_result(out / "results" / f"{name}.json")
        assert (result.provenance.model, set(result.answers)) == ("item-knn", {"cross", "single"})
        assert f"result: {out / 'results' / name}.json" in text
    expected = fit_neighbours(tiny_dataset).evaluate("test", "full")
    assert np.array_equal(
        load_result(out / "results/test-full.json").answers["cross"].ranks, expected.answers["cross"].ranks
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sasrec"], "unknown model 'sasrec'; those that need no run are popularity, item-knn, bpr-mf"),
        (["popularity", "--protocol", "ful"], "unknown protocol 'ful'"),
        (["popularity", "--split", "validation", "--refit", "validation"], "take refit = none"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(call, tiny_dataset, tmp_path, arguments, told):
    model, *options = arguments
    code, text, errors = call("baseline", model, str(tiny_dataset.path), *options, "--out", str(tmp_path / "out"))
    assert (code, text, errors.count("\n")) == (1, "", 1)
    assert told in errors
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_is_not_there_is_one_line(call, tmp_path):
    code, _, errors = call("baseline", "popularity", str(tmp_path / "gone"))
    assert (code, errors.count("\n")) == (1, 1)
    assert "gone" in errors


def test_a_second_fit_is_asked_for_by_an_option(call, tiny_dataset, tmp_path):
    code, _, _ = call("baseline", "popularity", str(tiny_dataset.path), "--refit", "validation", "--out", str(tmp_path))
    found = load_result(tmp_path / "results/test-full.json")
    assert (code, found.provenance.config) == (0, {"refit": "validation"})
    expected = fit_popularity(tiny_dataset, "validation").evaluate()
    assert np.array_equal(found.answers["popularity"].ranks, expected.answers["popularity"].ranks)


def test_no_result_of_something_else_is_written_over(call, tiny_dataset, tmp_path):
    out, dataset = tmp_path / "out", str(tiny_dataset.path)
    assert call("baseline", "popularity", dataset, "--out", out)[0] == 0
    assert call("baseline", "popularity", dataset, "--out", out)[0] == 0  # the same again
    before = (out / "results/test-full.json").read_bytes()
    for other in (["item-knn"], ["popularity", "--refit", "validation"]):
        model, *options = other
        code, text, errors = call("baseline", model, dataset, *options, "--out", out)
        assert (code, text, errors.count("\n")) == (1, "", 1)
        assert "is the result of popularity, of another dataset or made otherwise; choose another --out" in errors
    assert (out / "results/test-full.json").read_bytes() == before
    (out / "results/test-full.json").write_text("{")
    code, text, errors = call("baseline", "popularity", dataset, "--out", out)
    assert (code, text, errors.count("\n")) == (1, "", 1)
    assert "is damaged" in errors
    assert errors.endswith("remove it, or choose another --out\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    (tmp_path / "file").write_text("")
    for place, told in (("run", "is a trained run, whose results these are not"), ("file", "is no folder")):
        code, text, errors = call("baseline", "popularity", dataset, "--out", tmp_path / place)
        assert (code, text, errors.count("\n")) == (1, "", 1)
        assert told in errors
