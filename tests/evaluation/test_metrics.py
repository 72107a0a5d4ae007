import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncrec.errors import UnknownNameError
from syncrec.evaluation.metrics import CUTOFFS, METRICS, all_metrics, hit_rate, metric_values, mrr, ndcg, summarise

some_ranks = st.lists(st.integers(2, 400).map(lambda twice: twice / 2), min_size=1, max_size=20).map(np.array)


def test_values_by_hand():
    ranks = np.array([1.0, 3.0, 5.0, 5.5])
    assert hit_rate(ranks, 5).tolist() == [1, 1, 1, 0]
    assert ndcg(ranks, 5).tolist() == pytest.approx([1, 1 / 2, 1 / np.log2(6), 0])
    assert mrr(ranks).tolist() == [1, 1 / 3, 1 / 5, 1 / 5.5]


def test_no_queries_give_empty_values():
    assert all(len(values) == 0 for values in all_metrics(np.zeros(0)).values())


def test_ir_measures_agrees_on_random_rankings():
    rng = np.random.default_rng(0)
    ranks = rng.integers(1, 41, 60)
    qrels = [ir_measures.Qrel(f"q{q}", "target", 1) for q in range(60)]
    run = [
        ir_measures.ScoredDoc(f"q{q}", "target" if place == rank else f"d{place}", -float(place))
        for q, rank in enumerate(ranks)
        for place in range(1, 41)
    ]
    measures = {"mrr": ir_measures.RR}
    for k in CUTOFFS:
        measures |= {f"hr@{k}": ir_measures.Success @ k, f"ndcg@{k}": ir_measures.nDCG @ k}
    found = ir_measures.calc_aggregate(measures.values(), qrels, run)
    for name, measure in measures.items():
        assert metric_values(name, ranks.astype(float)).mean() == pytest.approx(found[measure])


@given(some_ranks)
def test_metrics_lie_between_zero_and_one_and_grow_with_k(ranks):
    values = all_metrics(ranks)
    assert all(((value >= 0) & (value <= 1)).all() for value in values.values())
    for kind in ("hr", "ndcg"):
        assert (values[f"{kind}@5"] <= values[f"{kind}@10"]).all()
    assert (values["ndcg@10"] <= values["hr@10"]).all()


@given(some_ranks)
def test_a_better_rank_never_lowers_a_metric(ranks):
    better, worse = all_metrics(ranks), all_metrics(ranks + 1)
    assert all((better[name] >= worse[name]).all() for name in METRICS)


def test_macro_mean_gives_each_domain_with_queries_the_same_weight():
    values = {"mrr": np.array([1.0, 1 / 2, 1 / 4])}
    summary = summarise(values, np.array([0, 0, 2]), ["Food", "Empty", "Kitchen"])
    assert summary.domains == {"Food": {"mrr": 1 / 2 * (1 + 1 / 2)}, "Kitchen": {"mrr": 1 / 4}}
    assert summary.macro == {"mrr": 1 / 2 * (3 / 4 + 1 / 4)}


def test_summary_of_nothing_is_empty():
    summary = summarise({"mrr": np.zeros(0)}, np.zeros(0, dtype=np.int64), ["Food"])
    assert (summary.domains, summary.macro) == ({}, {})


def test_unknown_metric_names_the_nearest():
    with pytest.raises(UnknownNameError, match="nearest: 'ndcg@10'"):
        metric_values("ndcg10", np.ones(1))
