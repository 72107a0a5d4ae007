"""The data page of a dataset and the doctor's findings, for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from syncrec.data.checks.rule import Check
from syncrec.data.facts import DatasetFacts, DomainFacts
from syncrec.reports.tables import Table, TableRow

__all__ = ["affinity_table", "check_table", "fact_lines", "fact_tables", "passed_line", "share"]

_STYLES = {"error": "red", "warning": "yellow", "info": "cyan"}
_QUANTILES = {"min": "min", "q05": "5 %", "q25": "25 %", "q50": "median", "q75": "75 %", "q95": "95 %", "max": "max"}
_ALL = "all domains"


def share(count: float, total: float) -> str:
    """`count` of `total` in per cent; a dash where there is nothing to share."""
    return f"{100 * count / total:.1f} %" if total else "-"


def fact_lines(facts: DatasetFacts) -> Iterator[str]:
    """What the dataset is, how it was split, how exact its times are, and its fingerprint."""
    ties, days = facts.ties, share(facts.ties.whole_days, facts.events)
    yield f"{facts.events:,} events of {facts.users:,} users with {facts.items:,} items in {len(facts.domains)} domains"
    several = ", ".join(f"{number + 1}: {count:,}" for number, count in enumerate(facts.users_by_num_domains))
    yield f"users by the number of domains they use: {several}"
    yield f"times: {facts.first} to {facts.last} UTC; {days} of the events are at midnight, as days without a time are"
    targets = sum(domain.validation_events + domain.test_events for domain in facts.domains)
    yield f"split: {facts.split}; {targets:,} targets; {facts.users_without_targets:,} users without a target"
    yield f"ties: {share(ties.tied, ties.neighbours)} of neighbouring events of a user have equal times"
    at_split = f"{_tied(facts, 'validation')} of validation targets and {_tied(facts, 'test')} of test targets"
    yield f"ties at the split: {at_split} have the time of the event before them"
    yield f"fingerprint: {facts.checksum}, {facts.bytes / 1e6:,.1f} MB"


def _tied(facts: DatasetFacts, part: str) -> str:
    count = facts.ties.tied_test if part == "test" else facts.ties.tied_validation
    return share(count, sum(getattr(domain, f"{part}_events") for domain in facts.domains))


def fact_tables(facts: DatasetFacts) -> Iterator[Table]:
    """Sizes and parts, cold targets, history lengths and the users that domains share, by domain."""
    yield Table(
        "events by domain",
        ("domain", "events", "users", "items", "training", "validation", "test", "from", "to"),
        (tuple(map(_size_row, facts.domains)),),
    )
    yield Table(
        "cold: without a training event",
        ("domain", "items", "validation targets", "test targets"),
        (tuple(map(_cold_row, facts.domains)),),
    )
    lengths = [(domain.name, domain.lengths) for domain in facts.domains]
    rows = tuple((name, *_length_cells(summary)) for name, summary in lengths)
    yield Table(
        "history lengths in events",
        ("domain", "mean", *_QUANTILES.values()),
        (rows, ((_ALL, *_length_cells(facts.lengths)),)),
    )
    if len(facts.domains) > 1:
        yield _shared_users(facts)


def _size_row(domain: DomainFacts) -> TableRow:
    sizes = (domain.events, domain.users, domain.items)
    parts = (domain.train_events, domain.validation_events, domain.test_events)
    return domain.name, *(f"{number:,}" for number in (*sizes, *parts)), domain.first[:10], domain.last[:10]


def _cold_row(domain: DomainFacts) -> TableRow:
    return (
        domain.name,
        _of(domain.cold_items, domain.items),
        _of(domain.cold_validation, domain.validation_events),
        _of(domain.cold_test, domain.test_events),
    )


def _of(count: int, total: int) -> str:
    return f"{count:,} ({share(count, total)})"


def _length_cells(summary: Mapping[str, float]) -> TableRow:
    if not summary:
        return ("-",) * (1 + len(_QUANTILES))
    return f"{summary['mean']:.1f}", *(f"{summary[name]:g}" for name in _QUANTILES)


def _shared_users(facts: DatasetFacts) -> Table:
    numbered = list(enumerate(facts.domains))
    rows = tuple(
        (first.name, second.name, f"{shared:,}", share(shared, first.users), share(shared, second.users))
        for (number, first), (other, second) in combinations(numbered, 2)
        for shared in (facts.shared_users[number][other],)
    )
    columns = ("domain", "other domain", "users of both", "of the domain's", "of the other's")
    return Table("users that two domains share", columns, (rows,))


def affinity_table(affinity: Mapping[str, Any]) -> Table:
    """What the events of a domain (row) tell of the items of another (column): an AUC, .5 if nothing."""
    rows = (
        (name, *("-" if value is None else f"{value:.2f}" for value in values))
        for name, values in zip(affinity["domains"], affinity["estimate"], strict=True)
    )
    title = "affinity of a domain's events (row) to the items of another: AUC, .50 if they tell nothing"
    return Table(title, ("domain", *affinity["domains"]), (tuple(rows),))


def check_table(title: str, checks: Sequence[Check]) -> RichTable:
    """The checks that found something, the worst first, each with its meaning and its remedy."""
    table = RichTable(title=escape(title), title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column in ("severity", "check", "found"):
        table.add_column(column, no_wrap=True)
    table.add_column("what it means, and what to do")
    for check in _worst_first(checks):
        severity = Text(check.rule.severity, _STYLES[check.rule.severity])
        table.add_row(severity, check.rule.name, *map(escape, _found(check)))
        table.add_section()
    return table


def _worst_first(checks: Sequence[Check]) -> list[Check]:
    order = list(_STYLES)
    return sorted((c for c in checks if c.has_fired), key=lambda check: order.index(check.rule.severity))


def _found(check: Check) -> tuple[str, str]:
    rule = check.rule
    found = f"{check.count:,} of {check.total:,}\n{rule.unit}\n({share(check.count, check.total)})"
    more = [f"Found: {check.detail}."] if check.detail else []
    more += [f"For example: {', '.join(check.examples)}."] if check.examples else []
    return found, "\n".join([rule.explanation, *more, f"Remedy: {rule.remedy}."])


def passed_line(checks: Sequence[Check]) -> str:
    """The checks that found nothing, by name."""
    names = [check.rule.name for check in checks if not check.has_fired]
    return f"nothing found by: {', '.join(names) if names else '-'}"
