"""Tables of results, for the terminal and as Markdown. Takes result objects, never a model."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod
from rich.markup import escape
from rich.table import Table as RichTable

from syncrec.evaluation.comparison import Comparison, Contestant, Difference, check_comparable
from syncrec.evaluation.metrics import MACRO, Summary, check_metric
from syncrec.evaluation.results import Estimate, EvaluationResult
from syncrec.evaluation.seeds import SeedMean, seed_mean
from syncrec.stats import Interval

__all__ = [
    "MACRO",
    "TABLE_METRICS",
    "Table",
    "TableRow",
    "comparison_table",
    "metrics_table",
    "percentages",
    "spread",
]

TABLE_METRICS = ("hr@10", "ndcg@10", "mrr")
_VERDICT_STYLES = {"gains": "green", "loses": "red", "holds": "green", "broken": "red", "invalid": "red"}
TableRow = tuple[str, ...]
Group = tuple[TableRow, ...]
Means = Mapping[str, float]

_LEFT_COLUMNS = ("domain", "part", "group", "model", "answer", "verdict", "arm", "guardrail", "status", "estimator")
_FOLDING_COLUMNS = ("domain", "group", "model", "arm", "guardrail")


@dataclass(frozen=True)
class Table:
    """A title, column names, and groups of rows of text; a group is set apart from the next."""

    title: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]

    def to_markdown(self) -> str:
        """The table in GitHub's Markdown, its title in bold above."""
        rule = [":--" if column in _LEFT_COLUMNS else "--:" for column in self.columns]
        rows = [self.columns, rule, *(row for group in self.groups for row in group)]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        return "\n".join([f"**{self.title}**", "", *lines, ""])

    def to_rich(self) -> RichTable:
        """The table for a console of 80 columns or more; where there is no room, names fold, not numbers."""
        table = RichTable(title=escape(self.title), title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)
        for column in self.columns:
            justify: JustifyMethod = "left" if column in _LEFT_COLUMNS else "right"
            table.add_column(escape(column), justify=justify, no_wrap=column not in _FOLDING_COLUMNS, overflow="fold")
        for group in self.groups:
            for row in group:
                table.add_row(*map(escape, row), style=_VERDICT_STYLES.get(row[-1]))
            table.add_section()
        return table


def metrics_table(
    results: Sequence[EvaluationResult],
    *,
    metrics: Sequence[str] = TABLE_METRICS,
    estimate: Estimate = "drawn",
) -> Table:
    """Every answer of every model in each domain and in the mean of domains.

    Results of one model are its training seeds: with several, cells hold mean ± standard deviation over seeds.

    Raises:
        ArtifactError: there are no results, or they differ in queries or protocol.
        UnknownNameError: there is no such metric.
    """
    for metric in metrics:
        check_metric(metric)
    check_comparable(results)
    first, contestants = results[0], list(_contestants(results))
    summaries = {c.name: [result.summary(c.answer, estimate) for result in c.results] for c in contestants}
    macro = {name: [summary.macro for summary in seeds] for name, seeds in summaries.items()}
    groups = [
        *(_group(domain, count, _of_domain(summaries, domain), metrics) for domain, count in first.num_queries.items()),
        _group(MACRO, len(first.users), macro, metrics),
    ]
    num_seeds = max(len(contestant.results) for contestant in contestants)
    title = _title(first.protocol, first.split, estimate, num_seeds)
    return Table(title, ("domain", "queries", "answer", *map(str.upper, metrics)), tuple(groups))


def comparison_table(comparison: Comparison) -> Table:
    """Which domain gains and which loses, with the relative change, its 95 % interval and the corrected p-value."""
    rows = [_comparison_row(domain, difference) for domain, difference in comparison.domains.items()]
    subject = f"{comparison.metric.upper()} of {comparison.candidate} against {comparison.baseline}"
    return Table(
        f"{subject}: {_title(comparison.protocol, comparison.split, comparison.estimate, comparison.num_seeds)}",
        ("domain", "queries", "baseline", "candidate", "change", "95 % interval", "p", "verdict"),
        (tuple(rows), (_comparison_row(MACRO, comparison.macro),)),
    )


def _contestants(results: Sequence[EvaluationResult]) -> Iterator[Contestant]:
    models = dict.fromkeys(result.provenance.model for result in results)
    for model in models:
        seeds = [result for result in results if result.provenance.model == model]
        yield from (Contestant(seeds, answer) for answer in seeds[0].answers)


def _of_domain(summaries: Mapping[str, Sequence[Summary]], domain: str) -> dict[str, list[Means]]:
    return {name: [summary.domains.get(domain, {}) for summary in seeds] for name, seeds in summaries.items()}


def _group(domain: str, count: int, means: Mapping[str, Sequence[Means]], metrics: Sequence[str]) -> Group:
    """A row for each answer; `means` holds its means by metric for each seed, empty for a domain without queries."""
    return tuple((domain, f"{count:,}", name, *_cells(seeds, metrics)) for name, seeds in means.items())


def _cells(seeds: Sequence[Means], metrics: Sequence[str]) -> list[str]:
    return [_mean_and_deviation([means[metric] for means in seeds if means]) for metric in metrics]


def _mean_and_deviation(values: Sequence[float]) -> str:
    return spread(seed_mean(values)) if values else "-"


def spread(mean: SeedMean) -> str:
    """Mean ± standard deviation over seeds; of one seed the mean alone."""
    return f"{mean.mean:.4f}" if mean.deviation is None else f"{mean.mean:.4f} ± {mean.deviation:.4f}"


def _comparison_row(domain: str, difference: Difference) -> tuple[str, ...]:
    return (
        domain,
        f"{difference.num_queries:,}",
        f"{difference.baseline_mean:.4f}",
        f"{difference.candidate_mean:.4f}",
        *percentages(difference.relative),
        f"{difference.p_value:.4f}",
        difference.verdict,
    )


def percentages(relative: Interval) -> Iterable[str]:
    """Estimate and interval in per cent; without a baseline above 0 there are none."""
    if not math.isfinite(relative.estimate):
        return "n/a", "n/a"
    return _percent(relative.estimate), f"{100 * relative.low:+.1f} to {_percent(relative.high)}"


def _percent(share: float) -> str:
    return f"{100 * share:+.1f} %"


def _title(protocol: str, split: str, estimate: Estimate, num_seeds: int) -> str:
    shown = f"{protocol}, expected over the draw" if estimate == "expected" else protocol
    return f"{shown}, {split} split, {num_seeds} seed{'s' if num_seeds > 1 else ''}"
