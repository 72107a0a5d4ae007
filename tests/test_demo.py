"""The demo: which log it takes, what it shows, and that it destroys nothing."""

import functools

import pytest

from jobs import TINY, write_small_log
from syncrec import demo
from syncrec.cli import main
from syncrec.config import load_config


@pytest.fixture(autouse=True)
def tiny_demo(monkeypatch, tmp_path):
    """One epoch of a small model, no log but those of the test, and few simulated users."""
    settings = [*TINY, "training.epochs=1"]
    monkeypatch.setattr(demo, "demo_config", lambda is_simulated: load_config(overrides=settings))
    monkeypatch.setattr(demo, "DEMO_LOG", tmp_path / "no.csv")
    monkeypatch.setattr(demo, "simulate_log", functools.partial(demo.simulate_log, num_users=60))
    monkeypatch.delenv("SYNCREC_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def log(tmp_path):
    return write_small_log(tmp_path / "log.csv")


def refusal(capsys, *arguments):
    """The one line on stderr of a demo that must fail."""
    assert main(["demo", *map(str, arguments)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_the_whole_job_is_shown(log, tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--data", str(log), "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"log: {log} (as given)\n")
    places = [
        text.index(part)
        for part in (
            "books: ",
            "train (1 epochs at most)",
            "evaluate: every test target against all items of its domain",
            "full, test split, 1 seed",
            "popularity",
            "mean of domains",
            "oldest first:",
            "ten recommendations in each domain, best first:",
            "Everything is in",
            f"next: syncrec recommend {out / 'run'} --user u",
        )
    ]
    assert places == sorted(places)
    assert sorted(path.name for path in out.iterdir()) == ["dataset", "demo.json", "run"]
    assert (out / "run" / "results" / "test-full.json").exists()


def test_the_command_it_ends_with_works(log, tmp_path, capsys):
    assert main(["demo", "--data", str(log), "--out", str(tmp_path / "demo")]) == 0
    command = " ".join(capsys.readouterr().out.split("next: syncrec ")[1].split())
    assert main(command.split()) == 0
    assert len(capsys.readouterr().out.splitlines()) == 10


def test_without_any_log_it_simulates_one_and_says_so(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "simulated.csv (SIMULATED: five services with known transfer; give your own with --data LOG)" in text
    assert all(f"{domain}: " in text for domain in ("books", "films", "music", "calls", "maps"))


class TestWhichLog:
    def test_the_given_one_comes_first(self, log, tmp_path, monkeypatch):
        monkeypatch.setenv("SYNCREC_DATA", str(tmp_path / "other.csv"))
        assert demo.choose_log(log, tmp_path)[0] == log

    def test_then_the_environment(self, log, tmp_path, monkeypatch):
        monkeypatch.setenv("SYNCREC_DATA", str(log))
        assert demo.choose_log(None, tmp_path) == (log, f"{log} (from $SYNCREC_DATA)")

    def test_an_empty_environment_variable_is_none(self, log, tmp_path, monkeypatch):
        monkeypatch.setenv("SYNCREC_DATA", "")
        monkeypatch.setattr(demo, "DEMO_LOG", log)
        assert demo.choose_log(None, tmp_path) == (log, f"{log} (real Amazon reviews)")


class TestRefusals:
    def test_a_missing_log_leaves_an_earlier_demo_alone(self, tmp_path, capsys):
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / "demo.json").write_text("{}")
        (tmp_path / "demo" / "result").write_text("kept")
        line = refusal(capsys, "--data", tmp_path / "nothing.csv", "--out", tmp_path / "demo")
        assert "nothing.csv: no such file; give another with --data LOG or in $SYNCREC_DATA" in line
        assert (tmp_path / "demo" / "result").read_text() == "kept"

    def test_a_missing_log_in_the_environment(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("SYNCREC_DATA", str(tmp_path / "nothing.csv"))
        assert "nothing.csv: no such file" in refusal(capsys, "--out", tmp_path / "demo")
        assert not (tmp_path / "demo").exists()

    @pytest.mark.parametrize("is_file", [True, False])
    def test_something_else_is_not_overwritten(self, log, tmp_path, capsys, is_file):
        out = log if is_file else tmp_path
        assert "exists and is no earlier demo; choose another --out" in refusal(capsys, "--data", log, "--out", out)
        assert log.exists()

    def test_an_earlier_demo_is_replaced(self, log, tmp_path):
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / "demo.json").write_text("{}")
        (tmp_path / "demo" / "old").write_text("gone")
        assert main(["demo", "--data", str(log), "--out", str(tmp_path / "demo")]) == 0
        assert not (tmp_path / "demo" / "old").exists()


def test_the_settings_of_the_demo_are_valid():
    path = demo.Path(demo.__file__).with_name("demo.toml")
    assert load_config(path).training.epochs >= 1
