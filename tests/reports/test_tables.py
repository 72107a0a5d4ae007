import io

import numpy as np
import pytest
from rich.console import Console

from syncrec.errors import UnknownNameError
from syncrec.evaluation import AnswerRanks, Contestant, EvaluationResult, Provenance, compare
from syncrec.reports.tables import MACRO, Table, comparison_table, metrics_table


def result_of(model, answers, seed=0, sampled=False):
    above = np.array([0, 3, 1]) if sampled else None
    return EvaluationResult(
        provenance=Provenance(model, seed),
        protocol="sampled-999" if sampled else "full",
        split="test",
        negatives_seed=0,
        dataset_checksum="abc",
        domains=("Food", "Kitchen", "Empty"),
        users=("ann", "bob", "zoe"),
        query_domains=np.array([0, 1, 0]),
        answers={name: AnswerRanks(np.array(ranks, dtype=float), above) for name, ranks in answers.items()},
        num_eligible=np.array([9, 9, 9]) if sampled else None,
    )


def printed(table, width=140):
    console = Console(file=io.StringIO(), width=width)
    console.print(table.to_rich())
    return console.file.getvalue()


JOINT = result_of("syncrec", {"cross": [1, 2, 4], "single": [2, 1, 4]})
POPULARITY = result_of("popularity", {"scores": [50, 50, 50]})


def test_metrics_table_has_a_row_for_each_domain_and_answer():
    table = metrics_table([JOINT, POPULARITY], metrics=["hr@10", "mrr"])
    assert table.title == "full, test split, 1 seed"
    assert table.columns == ("domain", "queries", "answer", "HR@10", "MRR")
    food, kitchen, empty, macro = table.groups
    assert food == (
        ("Food", "2", "syncrec cross", "1.0000", f"{1 / 2 * (1 + 1 / 4):.4f}"),
        ("Food", "2", "syncrec single", "1.0000", f"{1 / 2 * (1 / 2 + 1 / 4):.4f}"),
        ("Food", "2", "popularity", "0.0000", f"{1 / 50:.4f}"),
    )
    assert kitchen[0] == ("Kitchen", "1", "syncrec cross", "1.0000", "0.5000")
    assert empty[0] == ("Empty", "0", "syncrec cross", "-", "-")
    assert macro[0] == (MACRO, "3", "syncrec cross", "1.0000", f"{1 / 2 * (5 / 8 + 1 / 2):.4f}")


def test_several_seeds_show_their_deviation():
    results = [result_of("m", {"x": ranks}, seed) for seed, ranks in enumerate([[1, 1, 1], [2, 2, 2]])]
    row = metrics_table(results, metrics=["mrr"]).groups[0][0]
    assert row[-1] == f"0.7500 ± {np.std([1, 1 / 2], ddof=1):.4f}"
    assert "2 seeds" in metrics_table(results).title


def test_expected_metrics_are_named_in_the_title():
    table = metrics_table([result_of("m", {"x": [1, 4, 2]}, sampled=True)], estimate="expected", metrics=["mrr"])
    assert table.title == "sampled-999, expected over the draw, test split, 1 seed"
    assert table.groups[1][0][-1] == "0.2500"


def test_unknown_metric_is_refused():
    with pytest.raises(UnknownNameError, match="unknown metric 'auc'"):
        metrics_table([JOINT], metrics=["auc"])


def test_comparison_table_shows_difference_interval_and_verdict():
    comparison = compare(Contestant([JOINT], "cross"), Contestant([JOINT], "single"), metric="mrr")
    table = comparison_table(comparison)
    assert table.title == "MRR of syncrec cross against syncrec single: full, test split, 1 seed"
    (food, kitchen), (macro,) = table.groups
    assert food[:5] == ("Food", "2", "0.3750", "0.6250", f"{100 * (5 / 8 / (3 / 8) - 1):+.1f} %")
    assert kitchen[4:] == ("-50.0 %", "-50.0 to -50.0 %", "1.0000", "neutral")
    assert macro[:2] == (MACRO, "3")


def test_relative_difference_to_a_baseline_of_zero_is_not_available():
    comparison = compare(Contestant([JOINT], "cross"), Contestant([POPULARITY], "scores"), metric="hr@10")
    row = comparison_table(comparison).groups[0][0]
    assert row[2:6] == ("0.0000", "1.0000", "n/a", "n/a")


def test_markdown_is_a_table_with_aligned_columns():
    table = Table("T", ("domain", "MRR"), ((("a|b", "0.1"),), (("c", "0.2"),)))
    assert table.to_markdown() == "**T**\n\n| domain | MRR |\n| :-- | --: |\n| a\\|b | 0.1 |\n| c | 0.2 |\n"


def test_terminal_table_holds_every_cell_and_reads_no_markup_in_names():
    text = printed(Table("T [x]", ("domain", "verdict"), ((("[bold]Food", "gains"), ("Kitchen", "loses")),)))
    assert all(part in text for part in ("T [x]", "[bold]Food", "gains", "Kitchen", "loses"))


def test_a_narrow_terminal_folds_names_of_domains_and_no_number():
    comparison = compare(Contestant([JOINT], "cross"), Contestant([JOINT], "single"), metric="mrr")
    text = printed(comparison_table(comparison), width=80)
    assert all(part in text for part in ("-50.0 to -50.0 %", "0.3750", "0.6250", "+66.7 %", "1.0000", "neutral"))
    assert max(map(len, text.splitlines())) <= 80


def test_names_of_columns_are_shown_as_they_are():
    table = Table("t [b]", ("domain", "tv [sd]", "tv [/old]"), ((("a [x]", "1", "2"),),))
    console = Console(file=io.StringIO(), width=80)
    console.print(table.to_rich())
    assert all(name in console.file.getvalue() for name in ("t [b]", "tv [sd]", "tv [/old]", "a [x]"))
