from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncrec.errors import DataError, SyncrecError, UnknownNameError
from syncrec.evaluation import PROTOCOLS, Provenance, evaluate_ranks, full_ranks, ranks_of
from syncrec.evaluation.negatives import draw_negatives, seen_items
from syncrec.rng import numpy_generator

MODEL = Provenance("fake")
# Food owns items 0..3, Kitchen 4..9; test targets are the last items: 1, 5, 2.
HISTORIES = [[0, 4, 5, 1], [2, 3, 4, 5], [6, 7, 0, 2]]


@pytest.fixture
def dataset(make_dataset):
    return make_dataset(HISTORIES)


@pytest.fixture
def queries(dataset):
    return dataset.queries("test")


def evaluate(queries, dataset, scorers, provenance, **options):
    return evaluate_ranks(queries, dataset, partial(ranks_of, queries, dataset, scorers), provenance, **options)


def random_scorer(matrix_scorer, num_queries=3, num_items=10, levels=4, seed=0):
    """Few score levels, so that ties are common."""
    return matrix_scorer(np.random.default_rng(seed).integers(0, levels, (num_queries, num_items)).astype(np.float32))


def test_full_ranks_among_all_items_of_the_targets_domain(queries, dataset, matrix_scorer):
    scores = np.zeros((3, 10), dtype=np.float32)
    scores[0, [0, 1, 9]] = [3, 2, 9]  # only item 0 beats target 1: item 9 is of another domain
    scores[1, [4, 5, 6]] = [1, 2, 3]  # item 6 beats target 5
    scores[2, 2] = 1
    result = evaluate(queries, dataset, {"cross": matrix_scorer(scores)}, MODEL)
    assert result.answers["cross"].ranks.tolist() == [2, 2, 1]
    summary = result.summary("cross")
    assert summary.domains["Food"]["mrr"] == 1 / 2 * (1 / 2 + 1)
    assert summary.domains["Kitchen"]["mrr"] == 1 / 2
    assert summary.macro["mrr"] == 1 / 2 * (3 / 4 + 1 / 2)


def test_tied_scores_take_the_mean_rank(queries, dataset, matrix_scorer):
    constant = matrix_scorer(np.ones((3, 10), dtype=np.float32))
    ranks = full_ranks(queries, dataset, {"cross": constant})["cross"]
    assert ranks.tolist() == [(1 + 4) / 2, (1 + 6) / 2, (1 + 4) / 2]


def slow_full_rank(scores, target, start, stop):
    """Mean place of the target over the first and last order that a tie allows."""
    others = [scores[i] for i in range(start, stop) if i != target]
    best = 1 + sum(s > scores[target] for s in others)
    worst = 1 + sum(s >= scores[target] for s in others)
    return (best + worst) / 2


def test_full_ranks_equal_a_slow_loop(queries, dataset, matrix_scorer):
    scorer = random_scorer(matrix_scorer)
    expected = [
        slow_full_rank(scorer.matrix[q], queries.targets[q], *dataset.item_range(queries.domains[q])) for q in range(3)
    ]
    assert full_ranks(queries, dataset, {"x": scorer})["x"].tolist() == expected


def test_what_the_user_had_before_is_no_rival_where_it_is_left_out(make_dataset, matrix_scorer):
    # Test targets: 1; 5, which this user had before; 2, whose only rival left is 3; then validation: 5, 4, 0.
    dataset = make_dataset([[0, 4, 5, 1], [2, 5, 4, 5], [6, 1, 0, 2]])
    for split in ("test", "validation"):
        queries = dataset.queries(split)
        scorer = random_scorer(matrix_scorer)
        result = evaluate(queries, dataset, {"x": scorer}, MODEL, protocol="full-unseen", split=split)
        expected = []
        for q in range(3):
            start, stop = dataset.item_range(queries.domains[q])
            past = set(dataset.items[dataset.user_offsets[q] : queries.target_events[q]].tolist())
            kept = [i for i in range(start, stop) if i == queries.targets[q] or i not in past]
            target = kept.index(queries.targets[q])
            expected.append(slow_full_rank(scorer.matrix[q][kept], target, 0, len(kept)))
        assert result.answers["x"].ranks.tolist() == expected
        assert result.num_eligible is None
        assert expected != full_ranks(queries, dataset, {"x": scorer})["x"].tolist()


@pytest.mark.parametrize("protocol", ["sampled-999", "sampled-100"])
def test_sampled_ranks_equal_a_slow_loop(make_dataset, matrix_scorer, protocol):
    rng = np.random.default_rng(5)
    dataset = make_dataset([rng.integers(0, 2600, 6).tolist() for _ in range(12)], (1100, 1500))
    queries = dataset.queries("test")
    scorer = random_scorer(matrix_scorer, 12, 2600, levels=50)
    result = evaluate(queries, dataset, {"x": scorer}, MODEL, protocol=protocol, seed=3)
    rule = PROTOCOLS[protocol]
    for q in range(12):
        target, scores = queries.targets[q], scorer.matrix[q]
        start, stop = dataset.item_range(queries.domains[q]) if rule.scope == "domain" else (0, 2600)
        eligible = [i for i in range(start, stop) if i not in set(dataset.history(q).tolist())]
        generator = numpy_generator(3, "evaluation-negatives-test", int(queries.target_events[q]))
        drawn = draw_negatives(generator, start, stop, seen_items(dataset, q, start, stop), rule.num_negatives)
        assert set(drawn.tolist()) <= set(eligible)
        assert result.answers["x"].ranks[q] == 1 + sum(scores[i] > scores[target] for i in drawn)
        assert result.answers["x"].num_above[q] == sum(scores[i] > scores[target] for i in eligible)
        assert result.num_eligible[q] == len(eligible)


def test_few_items_are_all_drawn_and_ties_are_won(queries, dataset, matrix_scorer):
    constant = matrix_scorer(np.ones((3, 10), dtype=np.float32))
    result = evaluate(queries, dataset, {"x": constant}, MODEL, protocol="sampled-999")
    assert result.answers["x"].ranks.tolist() == [1, 1, 1]
    assert result.num_eligible.tolist() == [4 - 2, 6 - 2, 4 - 2]


def test_every_answer_and_any_part_of_the_queries_meets_the_same_negatives(make_dataset, matrix_scorer):
    rng = np.random.default_rng(1)
    dataset = make_dataset([rng.integers(0, 1200, 5).tolist() for _ in range(6)], (1200,))
    scorer = matrix_scorer(rng.random((6, 1200), dtype=np.float32))
    queries = dataset.queries("test")
    one = evaluate(queries, dataset, {"a": scorer, "b": scorer}, MODEL, protocol="sampled-999", seed=7)
    assert one.answers["a"].ranks.tolist() == one.answers["b"].ranks.tolist()
    part = type(queries)(*(getattr(queries, f)[2:4] for f in queries.__dataclass_fields__))
    two = evaluate(part, dataset, {"a": matrix_scorer(scorer.matrix[2:4])}, MODEL, protocol="sampled-999", seed=7)
    assert two.answers["a"].ranks.tolist() == one.answers["a"].ranks[2:4].tolist()


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_monotone_transforms_never_change_a_rank(data):
    from syncrec.evaluation.ranking import tie_mean_ranks

    scores = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=1, max_size=12)), dtype=np.float32)[None]
    column = np.array([data.draw(st.integers(0, scores.shape[1] - 1))])
    order = np.array(data.draw(st.permutations(range(scores.shape[1]))))
    rank = tie_mean_ranks(scores, column)
    assert tie_mean_ranks(3 * scores**3 - 5, column) == rank
    assert tie_mean_ranks(scores[:, order], np.flatnonzero(order == column[0])) == rank
    assert tie_mean_ranks(-scores, column) == 1 + scores.shape[1] - rank


def test_blocks_do_not_change_the_ranks(queries, dataset, matrix_scorer, monkeypatch):
    scorer = random_scorer(matrix_scorer)
    whole = full_ranks(queries, dataset, {"x": scorer})["x"].tolist()
    monkeypatch.setattr("syncrec.evaluation.ranking.SCORE_BLOCK_BYTES", 1)
    assert full_ranks(queries, dataset, {"x": scorer})["x"].tolist() == whole


def test_nan_score_is_named(queries, dataset, matrix_scorer):
    scores = np.zeros((3, 10), dtype=np.float32)
    scores[1, 7] = np.nan
    with pytest.raises(SyncrecError, match="'cross' scored item 7 of query 1 as NaN"):
        full_ranks(queries, dataset, {"cross": matrix_scorer(scores)})


def test_infinite_scores_are_ranked(queries, dataset, matrix_scorer):
    scores = np.full((3, 10), -np.inf, dtype=np.float32)
    scores[0, 1] = np.inf
    assert full_ranks(queries, dataset, {"x": matrix_scorer(scores)})["x"].tolist() == [1, 3.5, 2.5]


def test_wrong_shape_is_refused(queries, dataset, matrix_scorer):
    with pytest.raises(ValueError, match=r"'x' returned shape \(2, 3\), expected \(2, 4\)"):
        full_ranks(queries, dataset, {"x": matrix_scorer(np.zeros((3, 3), dtype=np.float32))})


def test_one_item_domain_always_ranks_first(make_dataset, matrix_scorer):
    dataset = make_dataset([[0, 1, 0], [2, 1, 0]], (1, 3))
    scorer = matrix_scorer(np.zeros((2, 4), dtype=np.float32))
    for protocol in PROTOCOLS:
        result = evaluate(dataset.queries("test"), dataset, {"x": scorer}, MODEL, protocol=protocol)
        assert result.answers["x"].ranks.tolist() == [1, 1]


def test_unknown_protocol_lists_the_known_ones(queries, dataset):
    with pytest.raises(UnknownNameError, match="full, full-unseen, sampled-999, sampled-100"):
        evaluate(queries, dataset, {}, MODEL, protocol="sampled-99")


def test_split_without_queries_is_refused(make_dataset, matrix_scorer):
    dataset = make_dataset([[]])
    with pytest.raises(DataError, match="the test split has no queries"):
        evaluate(dataset.queries("test"), dataset, {}, MODEL)
