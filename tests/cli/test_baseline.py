"""The command `baseline`: models that need no run."""

import numpy as np
import pytest

from syncrec.evaluation import load_result
from syncrec.memory_models import fit_neighbours


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
