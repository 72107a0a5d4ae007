"""Tables of models over their training seeds, and of their differences to a baseline."""

from collections.abc import Iterator

from syncrec.evaluation.seeds import Group, GroupComparison, GroupRow
from syncrec.reports.tables import TABLE_METRICS, Table, TableRow, percentages, spread

__all__ = ["group_tables"]


def group_tables(comparison: GroupComparison) -> Iterator[Table]:
    """What each group is, its metrics by domain, and, with more than one, its difference to the baseline."""
    title = f"{comparison.protocol}, {comparison.split} split"
    if comparison.estimate == "expected":
        title += ", expected over the draw"
    yield Table("groups", ("group", "model", "answer", "seeds"), (tuple(map(_group_row, comparison.groups)),))
    columns = ("domain", "queries", "group", *map(str.upper, TABLE_METRICS))
    by_domain = _by_domain(comparison)
    metrics = tuple(tuple(map(_metrics_row, rows)) for rows in by_domain)
    yield Table(f"{title}, mean ± standard deviation over seeds", columns, metrics)
    if len(comparison.groups) > 1:
        subject = f"{comparison.metric.upper()} against {comparison.baseline}"
        columns = ("domain", "group", "baseline", "mean", "change", "95 % interval", "p", "verdict")
        rows = tuple(tuple(_difference_rows(rows)) for rows in by_domain)
        yield Table(f"{subject}: {title}", columns, rows)


def _by_domain(comparison: GroupComparison) -> list[list[GroupRow]]:
    domains = dict.fromkeys(row.domain for row in comparison.rows)
    return [[row for row in comparison.rows if row.domain == domain] for domain in domains]


def _group_row(group: Group) -> TableRow:
    return group.label, group.model, group.answer, ", ".join(map(str, group.seeds))


def _metrics_row(row: GroupRow) -> TableRow:
    return row.domain, f"{row.num_queries:,}", row.group, *(spread(row.means[metric]) for metric in TABLE_METRICS)


def _difference_rows(rows: list[GroupRow]) -> Iterator[TableRow]:
    for row in rows:
        if row.difference is not None:
            difference = row.difference
            means = (f"{difference.baseline_mean:.4f}", f"{difference.candidate_mean:.4f}")
            sureness = (*percentages(difference.relative), f"{difference.p_value:.4f}", difference.verdict)
            yield row.domain, row.group, *means, *sureness
