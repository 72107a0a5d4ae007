from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from syncrec.evaluation.metrics import all_metrics
from syncrec.evaluation.negatives import NegativeDraw, draw_negatives, expected_metrics, seen_items
from syncrec.evaluation.protocols import PROTOCOLS


def counted(*numbers):
    return np.array(numbers, dtype=np.int64)


def test_seen_items_are_distinct_and_of_the_range(make_dataset):
    dataset = make_dataset([[5, 4, 0, 5, 1, 9]])
    assert seen_items(dataset, 0, 4, 10).tolist() == [4, 5, 9]
    assert seen_items(dataset, 0, 0, 10).tolist() == [0, 1, 4, 5, 9]


@settings(max_examples=200)
@given(
    start=st.integers(0, 30),
    size=st.integers(1, 40),
    num_negatives=st.integers(0, 45),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_drawn_items_are_distinct_unseen_and_of_the_range(start, size, num_negatives, seed, data):
    seen = counted(*sorted(data.draw(st.sets(st.integers(start, start + size - 1)))))
    drawn = draw_negatives(np.random.default_rng(seed), start, start + size, seen, num_negatives)
    eligible = set(range(start, start + size)) - set(seen.tolist())
    assert len(set(drawn.tolist())) == len(drawn) == min(num_negatives, len(eligible))
    assert set(drawn.tolist()) <= eligible


def test_every_set_of_negatives_is_equally_likely():
    generator, seen, num_draws = np.random.default_rng(0), counted(11, 13), 20_000
    draws = [tuple(sorted(draw_negatives(generator, 10, 17, seen, 2).tolist())) for _ in range(num_draws)]
    pairs = list(combinations([10, 12, 14, 15, 16], 2))
    counts = np.array([draws.count(pair) for pair in pairs])
    assert counts.sum() == num_draws
    chi_square = ((counts - num_draws / 10) ** 2 / (num_draws / 10)).sum()
    assert chi_square < 27.9  # 0.999 quantile with 9 degrees of freedom


def test_a_draw_depends_on_seed_split_and_event_only():
    rule, none = PROTOCOLS["sampled-100"], counted()

    def draw(seed, split, event):
        return NegativeDraw(rule, seed, split).negatives(event, 0, 5000, none).tolist()

    assert draw(1, "test", 8) == draw(1, "test", 8)
    assert len({tuple(draw(*stream)) for stream in [(1, "test", 8), (2, "test", 8), (1, "test", 9)]}) == 3
    assert draw(1, "test", 8) != draw(1, "validation", 8)


@pytest.mark.parametrize(("num_eligible", "num_above", "num_negatives"), [(7, 3, 4), (7, 0, 4), (7, 7, 4), (5, 2, 9)])
def test_expectation_equals_the_mean_over_every_possible_draw(num_eligible, num_above, num_negatives):
    draws = combinations(range(num_eligible), min(num_negatives, num_eligible))
    ranks = np.array([1.0 + sum(item < num_above for item in draw) for draw in draws])
    found = expected_metrics(counted(num_eligible), counted(num_above), num_negatives)
    for name, values in all_metrics(ranks).items():
        assert found[name][0] == pytest.approx(values.mean(), abs=1e-12)


def test_expectation_equals_the_mean_of_many_real_draws():
    generator, num_draws = np.random.default_rng(3), 4000
    num_eligible, num_above = counted(2000, 2000, 900), counted(15, 100, 4)
    found = expected_metrics(num_eligible, num_above, 999)
    for q in range(3):
        draws = [draw_negatives(generator, 0, int(num_eligible[q]), counted(), 999) for _ in range(num_draws)]
        ranks = np.array([1.0 + np.count_nonzero(draw < num_above[q]) for draw in draws])
        for name, values in all_metrics(ranks).items():
            margin = 4.5 * values.std() / np.sqrt(num_draws) + 1e-9
            assert found[name][q] == pytest.approx(values.mean(), abs=margin)


@pytest.mark.parametrize("num_above", [0, 1, 19, 20, 21, 5000])
def test_expected_reciprocal_rank_in_a_large_catalogue_equals_the_plain_sum(num_above):
    x = np.arange(min(num_above, 999) + 1)
    plain = (hypergeom.pmf(x, 2_000_000, num_above, 999) / (1 + x)).sum()
    assert expected_metrics(counted(2_000_000), counted(num_above), 999)["mrr"][0] == pytest.approx(plain, rel=1e-6)


@settings(max_examples=100)
@given(st.integers(0, 10**7), st.data())
def test_expectation_is_a_mean_of_values_between_zero_and_one(num_eligible, data):
    num_above = data.draw(st.integers(0, num_eligible))
    found = expected_metrics(counted(num_eligible), counted(num_above), 999)
    assert all(0 <= value[0] <= 1 for value in found.values())
    rounding = 1e-12
    assert found["ndcg@10"][0] - rounding <= found["hr@10"][0] <= found["hr@20"][0] + rounding


def test_nothing_eligible_means_rank_one():
    found = expected_metrics(counted(0), counted(0), 999)
    assert {name: value.tolist() for name, value in found.items()} == {name: [1] for name in found}


def test_expectation_of_no_queries_is_empty():
    assert all(len(value) == 0 for value in expected_metrics(counted(), counted(), 999).values())
