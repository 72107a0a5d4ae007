"""The report as tables of text."""

from collections.abc import Iterator, Sequence

from syncrec.experimentation.adjustment import AdjustedLift
from syncrec.experimentation.comparison import ArmComparison, Look, Outlook
from syncrec.experimentation.guardrails import GuardrailResult
from syncrec.experimentation.report import Report
from syncrec.reports.tables import Table, TableRow, percentages
from syncrec.stats import Interval

__all__ = ["alarms", "looks_table", "notes", "report_tables"]

_ALL = "all domains"


def report_tables(report: Report) -> list[Table]:
    """Counts, the primary comparison, domains, guardrails."""
    control, percent = report.definition.control_arm, f"{100 * report.definition.confidence:g} %"
    columns = ("arm", "domain", "lift", f"{percent} interval", "difference", f"{percent} interval", "p", "verdict")
    title = f"CTR against {control}, valid at any number of looks"
    tables = [
        _counts(report),
        Table(title, columns, (tuple(map(_comparison_row, report.overall)),)),
    ]
    if len(report.by_domain) > len(report.overall):
        tables.append(Table(f"{title}, by domain", columns, (tuple(map(_comparison_row, report.by_domain)),)))
    if report.adjusted:
        tables.append(_adjusted(report, percent))
    if report.guardrails:
        tables.append(_guardrails(report.guardrails))
    return tables


def looks_table(looks: Sequence[Look]) -> Table:
    """The primary comparison at the end of every day."""
    rows = tuple(
        (look.arm, str(look.day), f"{look.users:,}", *percentages(look.lift), _p(look.p_value)) for look in looks
    )
    return Table("By day", ("arm", "day", "users", "lift", "interval", "p"), (rows,))


def alarms(report: Report) -> Iterator[str]:
    """What makes the report useless, if anything does."""
    ratio = report.sample_ratio
    if not ratio.is_mismatch:
        return
    users, total = ratio.users, sum(ratio.users.values())
    found = ", ".join(
        f"{arm} {users[arm]:,} users ({users[arm] / total:.2%}, not {ratio.shares[arm]:.2%})" for arm in users
    )
    if ratio.has_misplaced:
        wrong = f"{ratio.misplaced:,} of {total:,} were answered by another arm than the salt assigns them to"
        yield f"USERS IN THE WRONG ARM: {wrong}; {found}"
    if ratio.has_other_shares:
        yield f"SAMPLE RATIO MISMATCH (p = {ratio.p_value:.2g}): {found}"
    yield "No verdict below can be trusted: find out why users are missing or misplaced, then start a new experiment."


def notes(report: Report) -> Iterator[str]:
    """What else a reader should know, a line each."""
    definition = report.definition
    yield f"experiment {report.name}: {report.state}, {report.num_days} days"
    if not report.sample_ratio.is_mismatch:
        yield f"sample ratio: as it should be (chi-square p = {report.sample_ratio.p_value:.3f})"
    if report.sample_ratio.misplaced and not report.sample_ratio.has_misplaced:
        yield f"{report.sample_ratio.misplaced:,} users were answered by another arm than the salt assigns them to"
    yield from (f"left out: {count:,} {what}" for what, count in report.left_out.items() if count)
    yield from (_outlook(one, definition.minimum_lift) for one in report.outlook)
    first = {look.arm: look for look in reversed(report.looks) if look.p_value < 1 - definition.confidence}
    yield from (f"{arm}: the interval excluded 0 for the first time on day {look.day}" for arm, look in first.items())


def _outlook(outlook: Outlook, lift: float) -> str:
    wanted = f"{outlook.arm}: to find a lift of {lift:.1%} with a power of 80 %"
    if outlook.users_needed is None:
        return f"{wanted}: too early to say"
    if outlook.users_needed <= outlook.users_now:
        return f"{wanted}: {outlook.users_now:,} users are enough ({outlook.users_needed:,})"
    left = "never at this pace" if outlook.days_left is None else f"about {outlook.days_left:,} more days"
    return f"{wanted}: {outlook.users_needed:,} users as active as the {outlook.users_now:,} so far, {left}"


def _counts(report: Report) -> Table:
    domains = dict.fromkeys(row.domain for row in report.counts)
    if len(domains) == 2:  # all of them, and the only one
        domains = {None: None}
    groups = tuple(
        tuple(
            (row.domain or _ALL, row.arm, f"{row.users:,}", f"{row.impressions:,}", f"{row.clicks:,}", *_rate(row.ctr))
            for row in report.counts
            if row.domain == domain
        )
        for domain in domains
    )
    return Table("What happened", ("domain", "arm", "users", "impressions", "clicks", "CTR", "interval"), groups)


def _rate(rate: Interval) -> TableRow:
    return f"{rate.estimate:.4f}", f"{rate.low:.4f} to {rate.high:.4f}"


def _comparison_row(one: ArmComparison) -> TableRow:
    difference = one.difference
    absolute = ("n/a", "n/a")
    if difference.estimate == difference.estimate:  # not NaN
        absolute = f"{difference.estimate:+.4f}", f"{difference.low:+.4f} to {difference.high:+.4f}"
    return one.arm, one.domain or _ALL, *percentages(one.lift), *absolute, _p(one.corrected), one.verdict


def _adjusted(report: Report, percent: str) -> Table:
    """With and without, side by side: the verdict above goes by the lift without."""
    columns = (
        "arm",
        "lift",
        f"{percent} interval",
        "adjusted",
        f"{percent} interval",
        "p",
        "noise left",
        "users known",
    )
    plain = {one.arm: one for one in report.overall}
    rows = tuple(_adjusted_row(one, plain[one.arm]) for one in report.adjusted)
    return Table("Lift adjusted by what users did before (CUPED)", columns, (rows,))


def _adjusted_row(one: AdjustedLift, plain: ArmComparison) -> TableRow:
    lifts = (*percentages(plain.lift), *percentages(one.lift))
    return one.arm, *lifts, _p(one.p_value), f"{one.noise_left:.0%}", f"{one.known_share:.0%}"


def _p(p_value: float) -> str:
    return f"{p_value:.4f}"


def _guardrails(results: Sequence[GuardrailResult]) -> Table:
    rows = tuple(
        (
            one.guardrail,
            one.arm,
            f"{one.value:.4g}",
            f"{one.control:.4g}",
            f"{one.bound:.4g}",
            f"{one.beyond.low:+.4g} to {one.beyond.high:+.4g}",
            one.status,
        )
        for one in results
    )
    return Table("Guardrails", ("guardrail", "arm", "value", "control", "bound", "past the bound", "status"), (rows,))
