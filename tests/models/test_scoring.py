import numpy as np
import pytest
import torch

from builders import in_given_order, query_batch, shake, small_model
from syncrec.data.catalogue import Catalogue
from syncrec.models.scoring import PopularityScorer, VectorScorer, answer_vectors, fuse


@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_vectors_of_all_queries_equal_those_asked_one_by_one(tiny_dataset, batch_size):
    model = small_model(Catalogue.of(tiny_dataset))
    shake(model)
    queries = tiny_dataset.queries("test")
    vectors = answer_vectors(model, tiny_dataset, queries, batch_size)
    assert model.training
    model.eval()
    for n in range(0, len(queries), 9):
        events = slice(queries.history_starts[n], queries.target_events[n])
        history, times = tiny_dataset.items[events].tolist(), tiny_dataset.timestamps[events].tolist()
        packed, batch = query_batch(model.catalogue, [history], [queries.domains[n]], model.config.max_length, [times])
        for name, encoded in model.encode(batch).items():
            expected = model.query_vectors(in_given_order(packed, encoded))[0]
            torch.testing.assert_close(vectors.queries[name][n], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(vectors.items, model.item_vectors())
    assert not any(v.requires_grad for v in (vectors.items, *vectors.queries.values()))


@pytest.mark.parametrize("score", ["dot", "cosine"])
def test_either_kind_of_score_can_be_ranked(tiny_dataset, score):
    model = small_model(Catalogue.of(tiny_dataset), score=score)
    vectors = answer_vectors(model, tiny_dataset, tiny_dataset.queries("test"))
    found = VectorScorer(vectors.queries["cross"], vectors.items).scores(np.asarray([2, 0]), 1, 9)
    torch.testing.assert_close(torch.tensor(found), vectors.queries["cross"][[2, 0]] @ vectors.items[1:9].T)


def test_fused_vectors_by_hand():
    queries = {"cross": torch.tensor([[1.0, 0.0], [1.0, 0.0]]), "single": torch.tensor([[0.0, 1.0], [0.0, 2.0]])}
    found = fuse(queries, [0.25, 1.0], np.asarray([0, 1]))
    assert found.tolist() == [[0.75, 0.25], [0.0, 2.0]]


def test_weight_zero_is_the_paper_and_weight_one_the_pacer():
    queries = {"cross": torch.randn(3, 4), "single": torch.randn(3, 4)}
    assert torch.equal(fuse(queries, [0.0, 0.0], np.asarray([0, 1, 1])), queries["cross"])
    assert torch.equal(fuse(queries, [1.0, 1.0], np.asarray([0, 1, 1])), queries["single"])


def test_scores_are_inner_products_with_the_items_asked():
    queries, items = torch.arange(6.0).view(3, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = VectorScorer(queries, items).scores(np.asarray([2, 0]), 1, 3)
    assert found.dtype == np.float32
    assert found.tolist() == [[5.0, 9.0], [1.0, 1.0]]


def test_popularity_is_the_number_of_training_events(tiny_dataset):
    counts = np.zeros(tiny_dataset.num_items)
    for user in range(tiny_dataset.num_users):
        for event in range(tiny_dataset.user_offsets[user], tiny_dataset.train_end[user]):
            counts[tiny_dataset.items[event]] += 1
    found = PopularityScorer(tiny_dataset).scores(np.asarray([0, 3]), 10, 24)
    assert found.tolist() == [counts[10:24].tolist()] * 2
