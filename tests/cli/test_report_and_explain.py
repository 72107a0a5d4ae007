"""The commands report and explain as their user meets them."""

import json
import shutil

import pytest

from syncrec.reports.html import page


class TestReport:
    def test_a_file_that_is_no_page_is_not_written_over(self, refused, copy):
        before = (copy / "log.csv").read_bytes()
        code, line = refused("report", copy / "run", "--out", copy / "log.csv")
        assert code == 2
        assert line.startswith(f"{copy / 'log.csv'}: exists already and is no HTML page")
        assert (copy / "log.csv").read_bytes() == before

    def test_a_missing_log_is_told_in_one_line(self, refused, copy, tmp_path):
        (copy / "run" / "log.jsonl").unlink()
        for command in (["report", copy / "run", "--out", tmp_path / "r.html"], ["evaluate", copy / "run"]):
            code, line = refused(*command)
            assert (code, line.split(";")[0]) == (1, f"{copy / 'run' / 'log.jsonl'}: no log of a training")

    def test_the_verdict_is_printed_and_the_page_is_there(self, call, place, tmp_path):
        (tmp_path / "items.csv").write_text("item,title\n" + "".join(f"b{n},Novel {n}\n" for n in range(30)))
        options = ["--users", "1", "--items", tmp_path / "items.csv"]
        code, out, _ = call("report", place / "run", "--out", tmp_path / "r.html", *options)
        assert code == 0
        lines = out.splitlines()
        assert "3 domains" in lines[0]
        assert [line.split()[0] for line in lines[1:4]] == ["books", "films", "tools"]
        assert lines[-1] == f"report: {tmp_path / 'r.html'}"
        text = (tmp_path / "r.html").read_text(encoding="utf-8")
        assert text.count("<article") == 1
        assert "Novel " in text

    def test_several_runs_are_measured_against_each_other(self, call, place, tmp_path):
        options = ["--set", "model.dim=16", "--set", "training.epochs=1", "--set", "training.threads=1"]
        trained = call("train", place / "data", "--out", tmp_path / "alone", "--model", "sasrec-single", *options)
        assert trained[0] == 0
        runs = [place / "run", tmp_path / "alone"]
        code, _, err = call("report", *runs, "--out", tmp_path / "r.html", "--users", "0")
        assert code == 0
        assert f"evaluating {tmp_path / 'alone'}" in err
        text = (tmp_path / "r.html").read_text(encoding="utf-8")
        assert "of the syncrec against sasrec-single, on the test split" in text
        assert "No users were asked for." in text
        code, out, _ = call("report", tmp_path / "alone", "--out", tmp_path / "alone.html")
        assert (code, out) == (0, f"report: {tmp_path / 'alone.html'}\n")
        assert "no domain's events can help or harm another" in " ".join(
            (tmp_path / "alone.html").read_text(encoding="utf-8").replace("&#39;", "'").split()
        )

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["{place}/run"], 2, "--out requires an argument"),
            (["--out", "{new}"], 2, "RUNS requires an argument"),
            (["{place}/data", "--out", "{new}"], 1, "data: holds no run.json, so it is no run"),
            (["{place}/run", "--out", "{new}", "--users", "-1"], 2, "--users must be at least 0, got -1"),
            (["{place}/run", "--out", "{new}", "--items", "no.csv"], 1, "no.csv: no such file; --items takes"),
            (["{place}/run", "--out", "{place}"], 1, "is a directory; give the name of a file"),
            (["{place}/run", "{place}/run", "--out", "{new}"], 1, "holds seed 0 twice"),
        ],
    )
    def test_refusals(self, refused, place, tmp_path, arguments, code, message):
        given = [a.format(place=place, new=tmp_path / "new.html") for a in arguments]
        found, line = refused("report", *given)
        assert found == code
        assert message in line
        assert list(tmp_path.iterdir()) == []

    def test_without_its_packages_it_says_what_to_install(self, refused, place, tmp_path, monkeypatch):
        monkeypatch.setattr(page, "_PACKAGES", ("json", "no_such_package"))
        code, line = refused("report", place / "run", "--out", tmp_path / "r.html")
        assert (code, line) == (1, "a report needs the package no_such_package; pip install 'syncrec[report]'")


class TestExplain:
    def test_items_reasons_and_events(self, call, place):
        code, out, _ = call("explain", place / "run", "--user", "u1", "--domain", "books", "-k", 3)
        assert code == 0
        lines = out.splitlines()
        assert lines[0] == "recommended to u1 in books (fused answer), because of:"
        assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
        assert lines[4].startswith("past events that matter most (")
        assert all(" %  " in line for line in lines[6:])

    def test_json_is_everything(self, call, place):
        code, out, _ = call("explain", place / "run", "--user", "u1", "--domain", "books", "--json")
        found = json.loads(out)
        assert (code, found["user"], found["domain"], found["main"]) == (0, "u1", "books", "fused")
        assert sorted(found["answers"]) == ["cross", "fused", "single"]
        assert all(set(event) == {"domain", "item", "time", "effect", "title"} for event in found["history"])

    def test_the_strongest_event_comes_first(self, call, place):
        found = json.loads(call("explain", place / "run", "--user", "u1", "--domain", "books", "--json")[1])
        strongest = max(found["history"], key=lambda event: abs(event["effect"]))
        lines = call("explain", place / "run", "--user", "u1", "--domain", "books")[1].splitlines()
        assert lines[13].endswith(f" %  {strongest['item']} ({strongest['domain']})")

    def test_titles_replace_ids(self, call, place, tmp_path):
        (tmp_path / "items.csv").write_text("item,title\n" + "".join(f"b{n},Novel\x1b[31m {n}\n" for n in range(30)))
        out = call("explain", place / "run", "--user", "u1", "--domain", "books", "--items", tmp_path / "items.csv")[1]
        assert "Novel [31m" in out
        assert "\x1b" not in out

    @pytest.mark.parametrize(
        ("user", "domain", "message"),
        [("nobody", "books", "unknown user 'nobody'"), ("u1", "bokks", "unknown domain 'bokks'; nearest: 'books'")],
    )
    def test_refusals(self, refused, place, user, domain, message):
        code, line = refused("explain", place / "run", "--user", user, "--domain", domain)
        assert code == 1
        assert message in line


class TestShortVerdict:
    def test_evaluate_ends_with_it(self, call, place):
        out = call("evaluate", place / "run")[1]
        *_, first, books, films, tools = out.splitlines()
        assert first.startswith("verdict (test split): ")
        assert [line.split()[1] for line in (books, films, tools)] == ["books", "films", "tools"]

    def test_train_says_that_it_is_of_validation(self, call, place, tmp_path):
        run = shutil.copytree(place / "run", tmp_path / "run")
        code, out, _ = call("train", place / "data", "--out", run, "--resume")
        assert code == 0
        assert "verdict (validation split, which also chose the epoch and the weights, so this is too kind): " in out
        assert (run / "results" / "validation-full.json").exists()
