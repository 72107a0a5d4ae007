"""The command that writes simulated logs."""

import json
import os
import resource
import subprocess
import sys

import polars as pl
import pytest

from syncrec.data.simulation import KNOWN_TRANSFER, simulate_log


def test_without_domains_it_is_the_log_of_five_services_byte_for_byte(call, tmp_path):
    assert call("simulate", "--users", "60", "--seed", "3", "--out", tmp_path / "log.csv")[0] == 0
    simulate_log(tmp_path / "expected.csv", num_users=60, mean_events=30, seed=3)
    assert (tmp_path / "log.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    assert json.loads((tmp_path / "log.transfer.json").read_text())["domains"] == dict(KNOWN_TRANSFER)


@pytest.mark.parametrize(("users", "events"), [("1e2", "2e3"), ("50", "100"), ("60", "149")])
def test_events_and_users_of_five_services_are_told_as_written(call, tmp_path, users, events):
    code, out, _ = call("simulate", "--users", users, "--events", events, "--out", tmp_path / "log.csv")
    log = pl.read_csv(tmp_path / "log.csv")
    facts = json.loads((tmp_path / "log.transfer.json").read_text())
    assert (facts["events"], facts["users"]) == (len(log), log["user"].n_unique()) == (len(log), float(users))
    told = f"{len(log):,} events of {facts['users']:,} users of five services with known transfer"
    assert (code, out) == (0, f"{tmp_path / 'log.csv'}: {told}\n")
    assert len(log) == pytest.approx(float(events), rel=0.25)


def test_logs_whose_names_differ_after_a_dot_have_facts_of_their_own(call, tmp_path):
    for seed, name in enumerate(["log.a.csv", "log.b.csv.gz"]):
        assert call("simulate", "--users", "5", "--seed", seed, "--out", tmp_path / name)[0] == 0
    facts = [json.loads((tmp_path / f"log.{name}.transfer.json").read_text())["seed"] for name in "ab"]
    assert facts == [0, 1]


def test_numbers_may_be_written_with_exponents(call, tmp_path):
    options = ["--users", "5e1", "--items", "1_000", "--domains", "4", "--events", "1.5e3"]
    code, out, _ = call("simulate", *options, "--out", tmp_path / "log")
    assert (code, out) == (
        0,
        f"{tmp_path / 'log'}: 1,500 events of 50 users on 1,000 items of 4 domains with known transfer\n",
    )
    assert len(pl.read_parquet(tmp_path / "log" / "*.parquet")) == 1500


def test_what_is_not_given_has_the_measure_of_the_five_services(call, tmp_path):
    out = call("simulate", "--users", "20", "--domains", "3", "--out", tmp_path / "log.csv")[1]
    assert "600 events of 20 users on 1,440 items of 3 domains" in out


@pytest.mark.parametrize(
    ("options", "code", "fault"),
    [
        (["--users", "1.5"], 2, "no whole number"),
        (["--users", "many"], 2, "many"),
        (["--users", "0"], 2, ">= 1"),
        (["--events", "30"], 2, "--events counts those of all users, got 30 for 3,000 users; give 6,000"),
        (["--events", "5999"], 2, "got 5,999 for 3,000 users; give 6,000 or more"),
        (["--noise-items", "5"], 2, "--noise-items: no effect without --noise-into LOG; leave out"),
        (["--noise-share", "0.5"], 2, "--noise-share: no effect without"),
        (["--noise-into", "x.csv", "--users", "9", "--domains", "2"], 2, "--users and --domains: no effect with"),
        (["--noise-into", "x.csv", "--noise-share", "inf"], 2, "<= 100"),
        (["--noise-into", "x.csv", "--noise-share", "1e18"], 2, "<= 100"),
        (["--users", "1e6", "--events", "1e8"], 2, "for a larger log give --domains"),
        (["--domains", "1"], 1, "domains must be at least 2"),
        (["--users", "10", "--domains", "4", "--events", "5"], 1, "5 events for 10 users"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(refused, tmp_path, options, code, fault):
    found, line = refused("simulate", *options, "--out", tmp_path / "log.csv")
    assert found == code
    assert any(part in line for part in fault.split("|")), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--users", "9"], ["--domains", "2"], ["--noise-into", "log.csv"]])
@pytest.mark.parametrize("name", ["log.parquet", "log.tsv", "log.gz"])
def test_text_does_not_get_the_name_of_another_notation(refused, tmp_path, options, name):
    code, line = refused("simulate", *options, "--out", tmp_path / name)
    assert (code, line.split(",")[0]) == (1, f"{tmp_path / name}: give a name in .csv or .csv.gz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["log.csv", "log"])
def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(tmp_path, name):
    """A limit on the size of files stands for the disk's end: both are errors of the system while writing."""
    command = [
        sys.executable,
        "-m",
        "syncrec",
        "simulate",
        "--users",
        "500",
        "--domains",
        "2",
        "--out",
        tmp_path / name,
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"syncrec: {tmp_path / name}: cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--users", "9"], ["--noise-into", "{out}"]])
def test_a_log_that_is_there_is_never_written_over(refused, call, tmp_path, options):
    out = tmp_path / "log.csv"
    assert call("simulate", "--users", "20", "--out", out)[0] == 0
    before = out.read_bytes()
    code, line = refused("simulate", *(option.format(out=out) for option in options), "--out", out)
    assert (code, line) == (1, f"{out}: exists already, and may be somebody's log; remove it, or choose another --out")
    assert out.read_bytes() == before
