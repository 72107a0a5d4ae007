import io

import numpy as np
from rich.console import Console

from syncrec.evaluation import AnswerRanks, EvaluationResult, Provenance, compare_groups
from syncrec.evaluation.metrics import MACRO
from syncrec.reports.groups import group_tables


def result_of(ranks, seed=0, model="syncrec"):
    return EvaluationResult(
        provenance=Provenance(model, seed),
        protocol="full",
        split="test",
        negatives_seed=0,
        dataset_checksum="abc",
        domains=("Food", "Kitchen"),
        users=("ann", "bob", "zoe"),
        query_domains=np.array([0, 1, 0]),
        answers={"cross": AnswerRanks(np.array(ranks, dtype=float))},
    )


GROUPS = {"sasrec": [result_of([2, 2, 2], 0, "sasrec")], "ours": [result_of([1, 4, 1]), result_of([2, 2, 2], 1)]}


def test_tables_hold_groups_metrics_and_differences():
    about, metrics, differences = group_tables(compare_groups(GROUPS, metric="mrr"))
    assert about.groups == ((("sasrec", "sasrec", "cross", "0"), ("ours", "syncrec", "cross", "0, 1")),)
    assert metrics.title == "full, test split, mean ± standard deviation over seeds"
    assert metrics.columns == ("domain", "queries", "group", "HR@10", "NDCG@10", "MRR")
    food, kitchen, macro = metrics.groups
    assert food[0][:3] == ("Food", "2", "sasrec")
    assert food[0][-1] == "0.5000"
    assert food[1][-1] == f"0.7500 ± {np.std([1, 1 / 2], ddof=1):.4f}"
    assert kitchen[1][-1] == f"0.3750 ± {np.std([1 / 4, 1 / 2], ddof=1):.4f}"
    assert macro[1][:3] == (MACRO, "3", "ours")
    assert differences.title == "MRR against sasrec: full, test split"
    assert [row[:5] for (row,) in differences.groups] == [
        ("Food", "ours", "0.5000", "0.7500", "+50.0 %"),
        ("Kitchen", "ours", "0.5000", "0.3750", "-25.0 %"),
        (MACRO, "ours", "0.5000", "0.5625", "+12.5 %"),
    ]


def test_one_group_has_no_differences():
    assert len(list(group_tables(compare_groups({"ours": GROUPS["ours"]})))) == 2


def test_a_narrow_terminal_folds_names_of_domains_and_no_number():
    console = Console(file=io.StringIO(), width=80)
    for table in group_tables(compare_groups(GROUPS, metric="mrr")):
        console.print(table.to_rich())
    text = console.file.getvalue()
    assert all(part in text for part in ("0.7500 ± 0.3536", "-100.0 to +685.3 %", "neutral", "syncrec"))
    assert max(map(len, text.splitlines())) <= 80
