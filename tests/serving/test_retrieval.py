"""Exact and approximate search: the true best items, what is excluded, and the recall that is promised."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from syncrec.serving.live import Indices, Known, LiveModel
from syncrec.serving.questions import Question
from syncrec.serving.retrieval import ApproximateRetrieval, ExactRetrieval, build_index, load_index

NUM_ITEMS, DIM = 6_000, 16
pytest.importorskip("faiss", reason="the package faiss-cpu is not installed")


def directions(count, seed, num_groups=40):
    """Unit vectors in groups, as embeddings of items have them."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(num_groups, DIM, generator=torch.Generator().manual_seed(99))
    chosen = torch.randint(num_groups, (count,), generator=generator)
    return F.normalize(centres[chosen] + 0.5 * torch.randn(count, DIM, generator=generator), dim=1)


@pytest.fixture(scope="module")
def items():
    return directions(NUM_ITEMS, 0)


@pytest.fixture(scope="module")
def questions():
    return directions(100, 1) * 8


@pytest.fixture(scope="module")
def exact(items):
    return ExactRetrieval(items)


@pytest.fixture(scope="module")
def approximate(items, questions):
    return ApproximateRetrieval(items, build_index(items), questions)


def masks_of(share, count=100):
    random = np.random.default_rng(0)
    return [None if row % 3 == 0 else random.random(NUM_ITEMS) < share for row in range(count)]


class TestExact:
    @pytest.mark.parametrize("k", [1, 10, NUM_ITEMS, NUM_ITEMS + 5])
    def test_it_is_a_sort_of_all_products(self, exact, items, questions, k):
        for query, (places, scores) in zip(questions[:5], exact.best(questions[:5], k, [None] * 5), strict=True):
            products = items @ query
            assert len(places) == min(k, NUM_ITEMS)
            np.testing.assert_allclose(scores, products.sort(descending=True).values[:k], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(scores, products[torch.from_numpy(places)], rtol=1e-4, atol=1e-4)

    def test_excluded_items_never_come_and_nothing_is_left_if_all_are(self, exact, questions):
        masks = masks_of(0.9)
        masks[1] = np.ones(NUM_ITEMS, dtype=bool)
        found = exact.best(questions, 50, masks)
        assert len(found[1][0]) == 0
        assert not any(mask[places].any() for (places, _), mask in zip(found, masks, strict=True) if mask is not None)


class TestApproximate:
    def test_the_recall_that_it_measured_holds_for_other_questions(self, approximate, exact):
        assert approximate.measured.recall >= 0.99
        assert approximate.measured.num_probed < approximate.measured.num_cells / 2
        others = directions(200, 2)
        pairs = zip(exact.best(others, 100, [None] * 200), approximate.best(others, 100, [None] * 200), strict=True)
        assert np.mean([np.isin(true, found).mean() for (true, _), (found, _) in pairs]) > 0.97

    def test_scores_are_exact_and_best_first(self, approximate, items, questions):
        for query, (places, scores) in zip(questions, approximate.best(questions, 20, [None] * 100), strict=True):
            assert len(places) == 20
            assert len(set(places.tolist())) == 20
            np.testing.assert_allclose(scores, items[torch.from_numpy(places)] @ query, rtol=1e-5)
            assert (np.diff(scores) <= 0).all()

    @pytest.mark.parametrize("share", [0.001, 0.1, 0.999])
    def test_excluded_items_never_come_and_those_behind_them_do(self, approximate, exact, questions, share):
        masks = masks_of(share)
        true, found = (way.best(questions, 10, masks) for way in (exact, approximate))
        for (expected, _), (places, _), mask in zip(true, found, masks, strict=True):
            assert mask is None or not mask[places].any()
            assert len(places) == len(expected)
        hits = [np.isin(expected, places).mean() for (expected, _), (places, _) in zip(true, found, strict=True)]
        assert np.mean(hits) > 0.97

    def test_what_is_left_by_a_filter_is_searched_without_error(self, approximate, exact, questions):
        mask = np.ones(NUM_ITEMS, dtype=bool)
        mask[::100] = False
        masks = [mask] * len(questions)
        for (true, _), (found, _) in zip(
            exact.best(questions, 10, masks), approximate.best(questions, 10, masks), strict=True
        ):
            assert set(true.tolist()) == set(found.tolist())

    def test_an_index_is_read_again_from_its_file(self, items, tmp_path, questions):
        first = ApproximateRetrieval(items, load_index(items, tmp_path / "a.index"), questions)
        stamp = (tmp_path / "a.index").stat().st_mtime_ns
        again = ApproximateRetrieval(items, load_index(items, tmp_path / "a.index"), questions)
        assert (tmp_path / "a.index").stat().st_mtime_ns == stamp
        for one, other in zip(
            first.best(questions, 9, [None] * 100), again.best(questions, 9, [None] * 100), strict=True
        ):
            np.testing.assert_array_equal(one[0], other[0])


def test_a_run_with_indices_answers_as_one_without(place, live, tmp_path):
    indexed = LiveModel("run", place / "run", indices=Indices(2, tmp_path))
    assert set(indexed.measured) == set(indexed.dataset.domains)
    assert all(measured.recall >= 0.99 for measured in indexed.measured.values())
    assert live.measured == {}
    questions = [
        Question("books", 5, user="u1"),
        Question("films", 5, user="u2", exclude_seen=True),
        Question("tools", 3, user="nobody", deny=("t1",)),
        Question("tools", 3, user="u3", allow=("t1", "t5", "t7")),
    ]
    known = [Known()] * len(questions)
    for mine, theirs in zip(indexed.answer(questions, known), live.answer(questions, known), strict=True):
        assert mine.items == theirs.items
        np.testing.assert_allclose(mine.scores, theirs.scores, rtol=1e-5)
