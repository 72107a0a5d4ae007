"""The tables of results where a domain has no test target."""

from types import SimpleNamespace

from syncrec.experiments.plan import Plan
from syncrec.experiments.summary import _metrics_table, _Row
from syncrec.reports.tables import MACRO, TABLE_METRICS


def test_a_domain_without_targets_has_no_rows():
    metrics = dict.fromkeys(TABLE_METRICS, 0.25)
    summary = SimpleNamespace(domains={"books": metrics}, macro=metrics)
    result = SimpleNamespace(
        answers={"cross": None}, domains=["books", "noise"], num_eligible=None, summary=lambda *_: summary
    )
    plan = Plan(datasets={"log": {"log": "log.csv"}}, models={"sasrec": {}})
    table = _metrics_table(plan, [_Row("sasrec", "cross", [result])])
    assert [[row[0] for row in group] for group in table.groups] == [["books"], [MACRO]]
