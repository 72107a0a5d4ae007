"""The command `benchmark`, with rows that need no training."""

import pytest

from jobs import write_small_log

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
    assert "## one, full" in report
    assert "- one, full: sasrec\n- two, full: sasrec, popularity, item-knn\n" in report, "and what the plan lacks"
    assert not (out / "runs").exists()


def test_what_the_plan_has_not_is_told(call, plan, tmp_path):
    code, _, errors = call("benchmark", plan, "--out", tmp_path / "out", "--model", "sasrek")
    assert (code, errors) == (
        1,
        "syncrec: the plan has no model 'sasrek'; did you mean 'sasrec'? (it has sasrec, popularity, item-knn)\n",
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("results.json", None, "is where the same as JSON goes; give the Markdown file, results.md"),
        ("notes.md", {"notes.md": "my notes"}, "notes.md: exists and holds no results of `syncrec benchmark`"),
        ("notes.md", {"notes.json": "{}"}, "notes.json: exists and holds no results of `syncrec benchmark`"),
    ],
)
def test_no_file_of_another_kind_is_written_over(call, plan, tmp_path, name, content, told):
    for file, text in (content or {}).items():
        (tmp_path / file).write_text(text)
    wanted = ("--model", "popularity", "--dataset", "one", "--report", tmp_path / name)
    code, _, errors = call("benchmark", plan, "--out", tmp_path / "out", *wanted)
    assert code == 1
    assert told in errors
    assert not (tmp_path / "out").exists()
    assert all((tmp_path / file).read_text() == text for file, text in (content or {}).items())


def test_expected_metrics_are_of_protocols_that_draw(call, plan, tmp_path):
    plan.write_text('protocols = ["full", "sampled-100"]\nestimate = "expected"\n' + plan.read_text())
    wanted = ("--model", "popularity", "--dataset", "one")
    for _ in range(2):  # results of its own are written over
        assert call("benchmark", plan, "--out", tmp_path / "out", *wanted)[0] == 0
    assert "one, full" in (tmp_path / "out" / "results.md").read_text()


def test_a_log_of_the_same_name_elsewhere_must_hold_the_same(call, tmp_path):
    plan = tmp_path / "plan.toml"
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    log = write_small_log(tmp_path / "a" / "log.csv")
    (tmp_path / "b" / "log.csv").write_text(log.read_text())
    (tmp_path / "c" / "log.csv").write_text(log.read_text() + "new,z,books,99999\n")
    codes = []
    for folder in ("a", "b", "c"):
        plan.write_text(f'[datasets.d]\nlog = "{folder}/log.csv"\n[models.popularity]\n')
        code, _, errors = call("benchmark", plan, "--out", tmp_path / "out")
        codes.append(code)
    assert codes == [0, 0, 1]
    assert f"was prepared of {log}, which holds something else; choose another --out" in errors
