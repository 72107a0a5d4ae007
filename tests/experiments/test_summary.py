"""The tables of results: domains without a test target, and who is compared with whom."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from syncrec.errors import ConfigError
from syncrec.evaluation import result_path
from syncrec.experiments.findings import Findings
from syncrec.experiments.plan import Cell
from syncrec.experiments.summary import _metrics_table, _Row, summarise_experiment, write_summary
from syncrec.reports.tables import MACRO, TABLE_METRICS


def test_a_domain_without_targets_has_no_rows():
    metrics = dict.fromkeys(TABLE_METRICS, 0.25)
    summary = SimpleNamespace(domains={"books": metrics}, macro=metrics)
    result = SimpleNamespace(
        answers={"cross": None}, domains=["books", "noise"], num_eligible=None, summary=lambda *_: summary
    )
    table = _metrics_table([_Row("sasrec", "cross", [result], "drawn")])
    assert [[row[0] for row in group] for group in table.groups] == [["books"], [MACRO]]


def test_a_twin_that_is_the_best_baseline_too_is_compared_once_and_called_both(experiment):
    few = {label: entry for label, entry in experiment.plan.models.items() if label in ("syncrec", "alone")}
    alone = replace(experiment, plan=experiment.plan.model_copy(update={"models": few}))
    for place, kinds in ((alone, ["single-domain twin, best baseline"]), (experiment, None)):
        content = summarise_experiment(place)
        protocol = experiment.plan.protocols[0]
        titles = [table.title for table in content["tables"][f"small, {protocol}"] if "verdict" in table.columns]
        assert kinds is None or [title.partition("; ")[2] for title in titles] == kinds
        assert "single-domain twin" in titles[0]
        (section,) = (part for part in content["sections"] if part["protocol"] == protocol)
        assert [found["kind"] for found in section["comparisons"]] == ["single-domain twin", "best baseline"]
        assert len(titles) == len({found["baseline"] for found in section["comparisons"]})


def copy_of(experiment, tmp_path, **changes):
    """The experiment in another directory, to be read, of a plan with `changes`."""
    shutil.copytree(experiment.out, tmp_path / "out")
    return Findings(experiment.plan.model_copy(update=changes), tmp_path / "out")


def without(found, *cells):
    for label, seed in cells:
        result_path(found.places.run(Cell("small", label, seed)), "test", "full").unlink()


def test_the_best_baseline_is_the_best_on_the_seeds_that_are_compared(experiment, tmp_path):
    found = copy_of(experiment, tmp_path, twin=None)
    without(found, ("syncrec", 1), ("alone", 0))
    (section,) = summarise_experiment(found)["sections"]
    (comparison,) = section["comparisons"]
    assert comparison["baseline"] != "alone", "it shares no seed with syncrec"
    without(found, ("alone", 1))
    assert summarise_experiment(found)["sections"][0]["comparisons"] == [comparison]


def test_what_has_no_result_is_told(experiment, tmp_path):
    found = copy_of(experiment, tmp_path)
    without(found, ("syncrec", 1), ("alone", 0), ("alone", 1))
    content = write_summary(found, tmp_path / "results.md")
    assert content["missing"] == {"small, full": ["syncrec (seed 1)", "alone"]}
    text = (tmp_path / "results.md").read_text()
    assert (
        "**Without a result so far**, and so in none of these tables:\n\n- small, full: syncrec (seed 1), alone\n"
        in text
    )
    assert write_summary(experiment, tmp_path / "whole.md")["missing"] == {}
    assert "Without a result" not in (tmp_path / "whole.md").read_text()


def test_a_run_whose_settings_are_not_chosen_does_not_count(experiment, tmp_path):
    found = copy_of(experiment, tmp_path)
    assert "syncrec" in found.results("small", "full")
    (found.places.tuning("small", "syncrec") / "chosen.json").unlink()
    assert not {"syncrec", "uncorrected"} & set(found.results("small", "full"))


def test_a_result_of_other_settings_is_refused(experiment, tmp_path):
    found = copy_of(experiment, tmp_path, settings={**experiment.plan.settings, "model.dropout": 0.77})
    with pytest.raises(
        ConfigError,
        match=r"settings than the plan has now \(model.dropout is .*, in the plan 0.77\); choose another --out",
    ):
        found.results("small", "full")


def test_failed_trials_are_told_with_the_budget(experiment, tmp_path):
    found = copy_of(experiment, tmp_path)
    path = found.places.tuning("small", "syncrec") / "chosen.json"
    content = json.loads(path.read_text())
    content["trials"][1]["value"] = None
    path.write_text(json.dumps(content))
    write_summary(found, tmp_path / "results.md")
    assert "- small, syncrec (2 trials, of which 1 failed):" in (tmp_path / "results.md").read_text()
