"""The data page and the findings as text."""

import io
from dataclasses import replace

from rich.console import Console

from prepared import arrays_of, write
from syncrec.data.checks.rule import Rule
from syncrec.data.facts import dataset_facts
from syncrec.reports.inspection import check_table, fact_lines, fact_tables, passed_line, share

HISTORIES = [[0, 6, 1, 2, 9], [3, 1, 1, 4], [7, 6]]
TIMES = [[0, 5, 5, 9, 9], [1, 2, 3, 3], [8, 9]]
ERROR = Rule("a-fault", "error", "things", "It is bad.", "mend it")
WARNING = replace(ERROR, name="a-doubt", severity="warning")
INFO = replace(ERROR, name="a-fact", severity="info")


def facts_of(tmp_path):
    return dataset_facts(write(tmp_path / "dataset", arrays_of(HISTORIES, TIMES)))


def rows_of(table):
    return [row for group in table.groups for row in group]


def printed(table, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_a_share_of_nothing_is_a_dash():
    assert (share(1, 8), share(0, 3), share(0, 0)) == ("12.5 %", "0.0 %", "-")


def test_the_lines_say_sizes_times_split_and_ties(tmp_path):
    lines = list(fact_lines(facts_of(tmp_path)))
    assert lines[0] == "11 events of 3 users with 10 items in 2 domains"
    assert "users by the number of domains they use: 1: 2, 2: 1" in lines
    assert "split: leave-one-out; 4 targets; 1 users without a target" in lines
    assert "ties: 37.5 % of neighbouring events of a user have equal times" in lines  # 3 of 8
    assert lines[5].startswith("ties at the split: 0.0 % of validation targets and 100.0 % of test targets")


def test_the_tables_have_a_row_for_each_domain_and_each_pair(tmp_path):
    sizes, cold, lengths, shared = fact_tables(facts_of(tmp_path))
    assert rows_of(sizes)[0] == ("A", "7", "2", "6", "4", "2", "1", "1970-01-01", "1970-01-01")
    assert rows_of(cold)[1] == ("B", "2 (50.0 %)", "0 (-)", "1 (100.0 %)")
    assert [row[0] for row in rows_of(lengths)] == ["A", "B", "all domains"]
    assert rows_of(shared) == [("A", "B", "1", "50.0 %", "50.0 %")]


def test_a_single_domain_has_nobody_to_share_with(tmp_path):
    facts = facts_of(tmp_path)
    alone = replace(facts, domains=facts.domains[:1], shared_users=((2,),))
    assert len(list(fact_tables(alone))) == 3


def test_findings_come_worst_first_with_meaning_example_and_remedy():
    checks = [INFO.found(1, 2), WARNING.found(0, 9), ERROR.found(3, 12, ["x", "y"], "a detail"), WARNING.found(1, 1)]
    text = printed(check_table("checks", checks), 80)
    assert [word for word in text.split() if word in ("error", "warning", "info")] == ["error", "warning", "info"]
    flat = " ".join(text.split())
    for part in ("3 of 12", "(25.0 %)", "Found: a detail.", "For example: x, y.", "Remedy: mend it."):
        assert part in flat
    assert passed_line(checks) == "nothing found by: a-doubt"


def test_ids_that_look_like_markup_are_printed_as_they_are():
    assert "[red]" in printed(check_table("checks", [ERROR.found(1, 1, ["[red]"])]), 80)
