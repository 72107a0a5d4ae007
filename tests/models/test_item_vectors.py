"""Item vectors that training begins from: who is near whom, what they must not depend on, what they leave alone."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
import torch.nn.functional as F
from scipy import sparse

from builders import DOMAIN_SIZES, small_model
from syncrec.data.catalogue import Catalogue
from syncrec.models import co_occurrence
from syncrec.models.co_occurrence import co_occurrence_vectors
from syncrec.models.item_vectors import begin_from_co_occurrence

GROUPS, ITEMS, USERS = 3, 12, 90


def users_of_groups(seed=0):
    """Every user has items of one of three groups of items alone, and an item in the end that nobody has."""
    random = np.random.default_rng(seed)
    dense = np.zeros((USERS, ITEMS + 1))
    for user in range(USERS):
        dense[user, user % GROUPS + GROUPS * random.choice(ITEMS // GROUPS, 3, replace=False)] = 1
    return sparse.csr_array(dense)


class TestVectors:
    def test_items_of_the_same_users_are_near_and_others_are_not(self):
        vectors = co_occurrence_vectors(users_of_groups(), GROUPS)[:ITEMS]
        is_same = np.arange(ITEMS)[:, None] % GROUPS == np.arange(ITEMS) % GROUPS
        cosines = vectors @ vectors.T
        assert cosines[is_same].min() > 0.9
        assert abs(cosines[~is_same]).max() < 0.1

    def test_they_have_length_1_and_that_of_an_item_without_users_is_0(self):
        lengths = np.linalg.norm(co_occurrence_vectors(users_of_groups(), 8), axis=1)
        np.testing.assert_allclose(lengths, [1] * ITEMS + [0], rtol=1e-5)

    def test_their_products_are_those_of_the_singular_vectors(self):
        items_of = users_of_groups()
        dense = items_of.toarray()
        normalised = dense / np.sqrt(np.maximum(dense.sum(1, keepdims=True), 1) * np.maximum(dense.sum(0), 1))
        _, values, right = np.linalg.svd(normalised, full_matrices=False)
        expected = right[:5].T * np.sqrt(values[:5])
        expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-9)
        found = co_occurrence_vectors(items_of, 5)
        np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-4)

    @pytest.mark.parametrize("dim", [1, 2, 64])
    def test_fewer_users_or_items_than_dimensions_are_fine(self, dim):
        vectors = co_occurrence_vectors(users_of_groups()[:4, :3], dim)
        assert vectors.shape == (3, dim)
        assert np.isfinite(vectors).all()

    @pytest.mark.parametrize("items_of", [users_of_groups(), users_of_groups().T.tocsr()[:, :40]], ids=["tall", "wide"])
    def test_a_large_matrix_gets_those_of_a_small_one_also_where_the_iteration_gives_up(self, monkeypatch, items_of):
        whole = co_occurrence_vectors(items_of, GROUPS)
        monkeypatch.setattr(co_occurrence, "_MOST_WHOLE", 0)
        found, usual = [co_occurrence_vectors(items_of, GROUPS)], scipy.sparse.linalg.svds

        def gives_up(*arguments, solver="arpack", **options):
            if solver == "arpack":
                raise scipy.sparse.linalg.ArpackError(3)
            return usual(*arguments, solver=solver, **options)

        monkeypatch.setattr(scipy.sparse.linalg, "svds", gives_up)
        found.append(co_occurrence_vectors(items_of, GROUPS))
        for vectors in found:
            np.testing.assert_allclose(vectors @ vectors.T, whole @ whole.T, atol=1e-4)

    def test_users_who_share_nothing_with_anybody_do_not_stop_it(self):
        alone = sparse.block_diag([np.ones((1, 3))] * 300 + [users_of_groups()], format="csr")
        vectors = co_occurrence_vectors(alone, 64)
        assert np.isfinite(vectors).all()
        together = vectors[:3] @ vectors[:3].T  # items of one of them, if it has a direction at all
        assert np.allclose(together, together[0, 0], atol=1e-4)

    def test_two_items_lie_in_different_directions(self):
        vectors = co_occurrence_vectors(sparse.csr_array(np.array([[1.0, 0], [0, 1], [1, 1], [1, 0]])), 8)
        assert vectors[0] @ vectors[1] < 0.9

    def test_without_any_event_there_is_no_direction(self):
        assert not co_occurrence_vectors(sparse.csr_array((5, 4)), 3).any()
        assert not co_occurrence_vectors(sparse.csr_array(np.ones((1, 4))), 3).any()


def table_for(dataset, ends, *, by_domain, seed=0):
    table = torch.randn(dataset.num_items + 3, 8, generator=torch.Generator().manual_seed(seed)) * 0.02
    begin_from_co_occurrence(table, dataset, ends, np.arange(3) if by_domain else np.zeros(3, dtype=np.int64))
    return table


class TestTable:
    def test_only_training_events_count(self, tiny_dataset):
        ends = np.asarray(tiny_dataset.train_end)
        later = table_for(tiny_dataset, np.asarray(tiny_dataset.validation_end), by_domain=False)
        assert not torch.equal(table_for(tiny_dataset, ends, by_domain=False), later)
        none = table_for(tiny_dataset, np.asarray(tiny_dataset.user_offsets[:-1]), by_domain=False)
        assert torch.equal(none, torch.randn(none.shape, generator=torch.Generator().manual_seed(0)) * 0.02)

    def test_rows_keep_their_length_and_start_tokens_their_values(self, tiny_dataset):
        table = table_for(tiny_dataset, np.asarray(tiny_dataset.train_end), by_domain=False)
        fresh = torch.randn(table.shape, generator=torch.Generator().manual_seed(0)) * 0.02
        assert torch.equal(table[tiny_dataset.num_items :], fresh[tiny_dataset.num_items :])
        torch.testing.assert_close(table.norm(dim=1).mean(), fresh.norm(dim=1).mean(), rtol=0.1, atol=0)

    def test_no_axis_holds_more_than_its_part_and_the_turn_is_that_of_the_seed(self, tiny_dataset):
        ends = np.asarray(tiny_dataset.train_end)
        first, second = (table_for(tiny_dataset, ends, by_domain=False, seed=seed) for seed in (0, 1))
        items = slice(0, tiny_dataset.num_items)
        sizes = first[items].square().mean(0)
        assert sizes.max() < 4 * sizes.mean()
        assert (first[items] - second[items]).abs().mean() > 0.3 * first[items].std()
        torch.testing.assert_close(*(F.normalize(t[items]) @ F.normalize(t[items]).T for t in (first, second)))

    @pytest.mark.parametrize("by_domain", [True, False])
    def test_a_domain_by_itself_knows_nothing_of_the_others(self, tiny_dataset, by_domain):
        ends, (start, stop) = np.asarray(tiny_dataset.train_end), tiny_dataset.item_range(2)
        whole = table_for(tiny_dataset, ends, by_domain=by_domain)[start:stop]
        alone = table_for(only_domain(tiny_dataset, 2), ends, by_domain=by_domain)[start:stop]
        assert torch.allclose(whole, alone, atol=1e-5) == by_domain


def only_domain(dataset, domain):
    """The dataset as it looks if every event of another domain were of that domain's first item."""
    items = np.asarray(dataset.items).copy()
    domains = dataset.domain_of(items)
    for other in range(dataset.num_domains):
        if other != domain:
            items[domains == other] = dataset.item_range(other)[0]

    class Changed:
        def __getattr__(self, name):
            return items if name == "items" else getattr(dataset, name)

    return Changed()


def test_a_model_begins_so_if_it_is_asked_to(tiny_dataset):
    ends, catalogue = np.asarray(tiny_dataset.train_end), Catalogue.of(tiny_dataset)
    for start, is_moved in (("random", False), ("co-occurrence", True)):
        model = small_model(catalogue, item_start=start)
        before = model.embedding.items.weight.detach().clone()
        model.observe(tiny_dataset, ends)
        assert torch.equal(before, model.embedding.items.weight) != is_moved
    assert model.embedding.items.weight.requires_grad
    assert catalogue.num_items == sum(DOMAIN_SIZES)
