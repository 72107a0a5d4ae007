"""`syncrec inspect`: what it prints, and its exit code."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from prepared import arrays_of, write
from syncrec.data.checks import checklist
from syncrec.evaluation import negatives_check
from syncrec.inspection import run_checks
from syncrec.reports.inspection import passed_line

CHECKS = [rule.name for rule in (*checklist.RULES, *negatives_check.RULES)]
RUN_CHECKS = [rule.name for rule in run_checks.RULES]


def flip_last_byte(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


class TestInspect:
    def test_a_good_dataset_and_run_have_no_error(self, call, place):
        code, out, err = call("inspect", place / "data", place / "run")
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert lines[1].endswith("events of 50 users with 90 items in 3 domains")
        assert [line.split()[0] for line in lines if "1970-01-01" in line and line.split()[0] != "times:"] == [
            "books",
            "films",
            "tools",
        ]
        assert f"checks of the run {place / 'run'}: nothing found by: run-dataset, run-fit, run-results" in out

    def test_every_rule_is_checked_and_every_check_is_in_json(self, call, place):
        code, out, _ = call("inspect", place / "data", place / "run", "--json")
        content = json.loads(out)
        assert (code, content["num_errors"]) == (0, 0)
        assert sorted(check["name"] for check in content["checks"]) == sorted(CHECKS)
        assert [check["name"] for check in content["runs"][str(place / "run")]] == RUN_CHECKS
        assert content["facts"]["users"] == 50

    def test_an_altered_dataset_is_an_error_with_remedy_and_exit_code_1(self, call, copy):
        flip_last_byte(copy / "data" / "users.utf8")
        code, out, err = call("inspect", copy / "data")
        assert code == 1
        assert "Remedy: prepare the dataset again." in out
        assert "For example: users.utf8." in out
        assert err == f"syncrec: {copy / 'data'}: checks that found an error: checksums; the remedies are above\n"

    @pytest.mark.parametrize("name", ["users.utf8", "train_end.npy", "items_0.offsets.npy"])
    def test_a_file_that_cannot_even_be_read_is_one_more_altered_file(self, call, copy, name):
        path = copy / "data" / name
        path.write_bytes(b"\xff" * path.stat().st_size)
        code, out, _ = call("inspect", copy / "data", copy / "run", "--json")
        content = json.loads(out)
        assert (code, content["facts"], content["runs"]) == (1, None, {})
        assert [(check["name"], check["examples"]) for check in content["checks"]] == [("checksums", [name])]

    def test_arrays_that_do_not_fit_are_reported_and_nothing_else_is_tried(self, call, tmp_path):
        ends = np.array([300])
        write(tmp_path / "data", arrays_of([[0, 6, 1]]), train_end=ends, validation_end=ends)
        code, out, _ = call("inspect", tmp_path / "data", "--json")
        content = json.loads(out)
        assert (code, content["facts"]) == (1, None)
        assert [check["name"] for check in content["checks"] if check["has_fired"]] == ["boundaries"]
        code, out, _ = call("inspect", tmp_path / "data")
        assert (code, "nothing more can be computed" in out) == (1, True)

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (("nowhere",), "nowhere: no such dataset"),
            (("data", "nowhere"), "nowhere: no such run; `syncrec train DATASET --out nowhere` makes one"),
        ],
    )
    def test_a_place_that_is_none_is_one_line(self, refused, copy, monkeypatch, arguments, line):
        monkeypatch.chdir(copy)
        assert refused("inspect", *arguments) == (1, line)

    def test_a_missing_file_ends_it_at_once(self, refused, copy):
        (copy / "data" / "items.npy").unlink()
        assert refused("inspect", copy / "data")[1].endswith(
            "items.npy: missing; the dataset is damaged, make it again"
        )

    def test_an_error_in_a_run_counts(self, call, copy):
        log = copy / "run" / "log.jsonl"
        log.write_text(log.read_text().replace('"step": ', '"step": 1'))
        code, out, err = call("inspect", copy / "data", copy / "run")
        assert (code, "run-fit" in err) == (1, True)
        assert "Found: the steps of the log are not those" in " ".join(out.split())


def test_where_everything_fires_nothing_is_left():
    rule = checklist.RULES[0]
    assert passed_line([rule.found(1, 1)]) == "nothing found by: -"


def test_the_document_lists_every_rule_with_its_severity():
    text = (Path(__file__).parents[2] / "docs" / "inspection.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z-]+)` \| (error|warning|info) \|", text, flags=re.MULTILINE)
    rules = (*checklist.RULES, *negatives_check.RULES, *run_checks.RULES)
    assert sorted(listed) == sorted((rule.name, rule.severity) for rule in rules)
