"""The tables of results: domains without a test target, and who is compared with whom."""

from dataclasses import replace
from types import SimpleNamespace

from syncrec.experiments.summary import _metrics_table, _Row, summarise_experiment
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
