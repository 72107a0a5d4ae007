"""The commands of an online experiment, from the draft to the report."""

import json
import shutil

import polars as pl
import pytest

from rehearsal import DEFINITION, rehearse


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """A folder with `rehearsal.toml`, running, and the log of its users, `events.csv` and `.parquet`; read only."""
    return rehearse(tmp_path_factory.mktemp("rehearsal"))


@pytest.fixture
def draft(tmp_path):
    path = tmp_path / "books.toml"
    path.write_text(f"ramp = 0.1\n{DEFINITION}", encoding="utf-8")
    return path


def test_an_experiment_is_started_ramped_and_stopped(call, draft):
    for arguments, said in [
        (["start", draft], "running, 10.0% of users, since 20"),
        (["ramp", draft, "--to", "0.5", "--reason", "no complaints"], "running, 50.0% of users"),
        (["stop", draft], "stopped, 0.0% of users"),
    ]:
        code, out, err = call("experiment", *arguments)
        assert (code, err) == (0, "")
        assert said in out
    state = json.loads((draft.parent / "books.state" / "state.json").read_text())
    assert [change["reason"] for change in state["history"]] == ["", "no complaints", ""]


def test_changes_that_make_no_sense_are_one_line(refused, call, draft):
    assert refused("experiment", "stop", draft)[1].endswith("the experiment is draft and cannot be stopped")
    call("experiment", "start", draft)
    code, line = refused("experiment", "ramp", draft, "--to", "0.05")
    assert code == 1
    assert line.startswith("--to must be above the ramp now (0.1) and at most 1, got 0.05")
    assert refused("experiment", "strat", draft)[0] == 2


def test_the_report_says_what_was_found(call, rehearsal, tmp_path):
    arguments = ["--events", rehearsal / "events.csv", "--by-day", "--json", tmp_path / "report.json"]
    code, out, err = call("experiment", "report", rehearsal / "rehearsal.toml", *arguments)
    assert code == 0
    for part in (
        "What happened",
        "CTR against control",
        "by domain",
        "Guardrails",
        "By day",
        "sample ratio: as it should",
    ):
        assert part in out
    assert "MISMATCH" not in out
    row = next(line for line in out.splitlines() if line.startswith("syncrec") and "all domains" in line)
    assert row.rstrip().endswith("gains")
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["overall"][0]["verdict"] == "gains"
    assert err == f"report: {tmp_path / 'report.json'}\n"


def test_a_sample_ratio_mismatch_comes_first(call, rehearsal, tmp_path):
    place = shutil.copytree(rehearsal, tmp_path / "copy")
    events = pl.read_csv(place / "events.csv")
    lost = (pl.col("arm") == "control") & pl.col("user").str.contains("[345]$")
    events.filter(~lost).write_csv(place / "events.csv")
    code, out, _ = call("experiment", "report", place / "rehearsal.toml", "--events", place / "events.csv")
    assert code == 0
    assert out.startswith("SAMPLE RATIO MISMATCH")
    assert "invalid" in out
    assert " gains" not in out


def test_a_policy_is_judged_offline(call, rehearsal, tmp_path):
    events = pl.read_parquet(rehearsal / "events.parquet").with_columns(propensity=pl.lit(0.2))
    events.write_parquet(tmp_path / "events.parquet")
    shown = events.filter(pl.col("kind") == "impression", pl.col("domain") == "films")
    policy = shown.select("user", "item", pl.col("position").cast(pl.Int64).alias("rank")).unique(["user", "rank"])
    policy.write_csv(tmp_path / "films.csv")
    policies = f"films={tmp_path / 'films.csv'}"
    code, out, _ = call("experiment", "offline", policies, "--events", tmp_path / "events.parquet")
    assert code == 0
    assert "places of which the policy says nothing" in out
    assert [line.split()[0] for line in out.splitlines() if line.startswith(("logged", "IPS", "SNIPS", "DR"))] == [
        "logged",
        "IPS",
        "SNIPS",
        "DR",
    ]


@pytest.mark.parametrize("command", ["report", "offline"])
def test_missing_events_are_one_line(refused, rehearsal, tmp_path, command):
    (tmp_path / "policy.csv").write_text("user,domain,item\nalice,books,x\n", encoding="utf-8")
    subject = {"report": rehearsal / "rehearsal.toml", "offline": tmp_path / "policy.csv"}[command]
    code, line = refused("experiment", command, subject, "--events", tmp_path / "gone.csv")
    assert (code, line) == (1, f"{tmp_path / 'gone.csv'}: no such file")
