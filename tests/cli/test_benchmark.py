"""The command `benchmark`, with rows that need no training."""

import pytest

PLAN = """
seeds = [0, 1]
[datasets.one]
dataset = "{data}"
[datasets.two]
log = "gone.csv"
[models.sasrec]
[models.popularity]
[models.item-knn]
"""


@pytest.fixture
def plan(tiny_dataset, tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.format(data=tiny_dataset.path))
    return path


def test_a_part_of_a_plan_is_run_alone(call, plan, tmp_path):
    out = tmp_path / "out"
    wanted = ("--model", "item-knn", "--model", "popularity", "--seed", "1", "--dataset", "one")
    code, text, errors = call("benchmark", plan, "--out", out, *wanted)
    assert (code, [line.split(":")[0] for line in errors.splitlines()]) == (
        0,
        ["train [1/2] one popularity", "train [2/2] one item-knn"],
    )
    assert f"results: {out / 'results.md'}" in text
    report = (out / "results.md").read_text()
    assert "item-knn" in report
    assert "popularity" in report
    assert "sasrec" not in report
    assert not (out / "runs").exists()


def test_what_the_plan_has_not_is_told(call, plan, tmp_path):
    code, _, errors = call("benchmark", plan, "--out", tmp_path / "out", "--model", "sasrek")
    assert (code, errors) == (
        1,
        "syncrec: the plan has no model 'sasrek'; did you mean 'sasrec'? (it has sasrec, popularity, item-knn)\n",
    )
    assert not (tmp_path / "out").exists()
