import dataclasses

import numpy as np
import pytest

from builders import tiny_arrays
from syncrec import artifacts
from syncrec.baselines import fit_neighbours
from syncrec.data.dataset import Dataset, write_dataset
from syncrec.models import neighbours as neighbours_module
from syncrec.models.neighbours import DECAY, ItemNeighbours, NeighbourScorer


def written(path, arrays):
    with artifacts.staged_directory(path) as stage:
        write_dataset(stage, arrays, {"settings": {"max_history": None}})
    return Dataset(path)


def slow_users(dataset):
    """Of each item the users who had it in training."""
    users = [set() for _ in range(dataset.num_items)]
    for user in range(dataset.num_users):
        for event in range(dataset.user_offsets[user], dataset.train_end[user]):
            users[dataset.items[event]].add(user)
    return users


def slow_similarities(dataset, num_neighbours):
    """[I, I], a row's neighbours in each domain by themselves."""
    users = slow_users(dataset)
    found = np.zeros((dataset.num_items, dataset.num_items))
    for item, mine in enumerate(users):
        for domain in range(dataset.num_domains):
            others = [other for other in range(*dataset.item_range(domain)) if other != item and mine & users[other]]
            similarity = {o: len(mine & users[o]) / np.sqrt(len(mine) * len(users[o])) for o in others}
            for other in sorted(others, key=lambda o: (-np.float32(similarity[o]), o))[:num_neighbours]:
                found[item, other] = similarity[other]
    return found


def slow_score(dataset, queries, n, similarities, view):
    """Scores of all items for query n, [I]."""
    history = dataset.items[queries.history_starts[n] : queries.target_events[n]].tolist()
    if view == "single":
        history = [item for item in history if dataset.domain_of(np.asarray([item]))[0] == queries.domains[n]]
    scores = np.zeros(dataset.num_items)
    for place, item in enumerate(reversed(history)):
        scores += DECAY**place * similarities[item]
    return scores


@pytest.mark.parametrize("num_neighbours", [1, 3, 1000])
@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("view", ["cross", "single"])
def test_scores_equal_the_loops(tiny_dataset, num_neighbours, split, view):
    similarities = slow_similarities(tiny_dataset, num_neighbours)
    queries = tiny_dataset.queries(split)
    scorer = NeighbourScorer(tiny_dataset, queries, ItemNeighbours(tiny_dataset, num_neighbours), view)
    expected = [slow_score(tiny_dataset, queries, n, similarities, view) for n in range(len(queries))]
    for start, stop in [(0, 9), (9, 10), (10, 24), (0, 24), (3, 17)]:
        numbers = np.random.default_rng(stop).permutation(len(queries))
        found = scorer.scores(numbers, start, stop)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.asarray(expected)[numbers, start:stop], rtol=1e-5, atol=1e-7)


def test_blocks_do_not_change_the_neighbours(tiny_dataset, monkeypatch):
    whole = ItemNeighbours(tiny_dataset, 3).similarities(0, 24).toarray()
    monkeypatch.setattr(neighbours_module, "_PAIRS_AT_ONCE", 1)
    assert np.array_equal(ItemNeighbours(tiny_dataset, 3).similarities(0, 24).toarray(), whole)


def test_similarity_by_hand(tmp_path):
    # Food owns 0..2, Kitchen 3..4. In training: ann 0, 0, 3; bob 0, 1, 3; cat 1. Their last two events are no training.
    histories = [[0, 0, 3, 2, 4], [0, 1, 3, 2, 4], [1, 2, 4]]
    dataset = written(tmp_path / "data", arrays_of(histories, (3, 2)))
    found = ItemNeighbours(dataset).similarities(0, 5).toarray()
    assert found[0] == pytest.approx([0, 1 / np.sqrt(2 * 2), 0, 2 / np.sqrt(2 * 2), 0])
    assert found[1] == pytest.approx([1 / 2, 0, 0, 1 / 2, 0])
    assert not found[[2, 4]].any()
    scorer = NeighbourScorer(dataset, dataset.queries("test"), ItemNeighbours(dataset), "cross")
    assert scorer.scores(np.asarray([2]), 0, 5)[0] == pytest.approx(DECAY * found[1])
    alone = NeighbourScorer(dataset, dataset.queries("test"), ItemNeighbours(dataset), "single")
    assert alone.scores(np.asarray([0]), 0, 5)[0] == pytest.approx(found[3])


def arrays_of(histories, domain_sizes):
    offsets = np.cumsum([0, *map(len, histories)]).astype(np.int64)
    return dataclasses.replace(
        tiny_arrays(),
        user_offsets=offsets,
        items=np.concatenate(histories).astype(np.int32),
        timestamps=np.arange(offsets[-1], dtype=np.int64),
        train_end=offsets[1:] - 2,
        validation_end=offsets[1:] - 1,
        item_counts=np.zeros(sum(domain_sizes), dtype=np.int64),
        users=[f"u{number}" for number in range(len(histories))],
        items_of_domain=[[f"{d}-{i}" for i in range(size)] for d, size in enumerate(domain_sizes)],
        domains=["Food", "Kitchen"],
    )


def test_what_comes_after_training_never_makes_a_neighbour(tiny_dataset, tmp_path):
    arrays = tiny_arrays()
    items = arrays.items.copy()
    for train_end, stop in zip(arrays.train_end, arrays.user_offsets[1:], strict=True):
        items[train_end:stop] = 0
    changed = written(tmp_path / "data", dataclasses.replace(arrays, items=items))
    found, expected = (ItemNeighbours(dataset).similarities(0, 24).toarray() for dataset in (changed, tiny_dataset))
    assert np.array_equal(found, expected)


def test_the_target_never_changes_its_own_score(tiny_dataset, tmp_path):
    arrays = tiny_arrays()
    items = arrays.items.copy()
    items[arrays.validation_end[arrays.validation_end < arrays.user_offsets[1:]]] = 3
    changed = written(tmp_path / "data", dataclasses.replace(arrays, items=items))
    scores = []
    for dataset in (changed, tiny_dataset):
        queries = dataset.queries("test")
        scorer = NeighbourScorer(dataset, queries, ItemNeighbours(dataset), "cross")
        scores.append(scorer.scores(np.arange(len(queries)), 0, 24))
    assert np.array_equal(*scores)


@pytest.mark.parametrize("protocol", ["full", "sampled-999", "sampled-100"])
def test_every_protocol_ranks_both_answers(tiny_dataset, protocol):
    result = fit_neighbours(tiny_dataset).evaluate("test", protocol, seed=2)
    assert (result.provenance.model, set(result.answers)) == ("item-knn", {"cross", "single"})
    queries = tiny_dataset.queries("test")
    scorer = NeighbourScorer(tiny_dataset, queries, ItemNeighbours(tiny_dataset), "single")
    start, stop = (0, 24) if protocol == "sampled-100" else tiny_dataset.item_range(queries.domains[0])
    scores = scorer.scores(np.asarray([0]), start, stop)[0]
    own = scores[queries.targets[0] - start]
    if protocol == "full":
        expected = 1 + np.sum(scores > own) + (np.sum(scores == own) - 1) / 2
    else:  # so few items that all unseen ones are drawn
        seen = np.isin(np.arange(start, stop), tiny_dataset.history(int(queries.users[0])))
        expected = 1 + np.sum(scores[~seen] > own)
    assert result.answers["single"].ranks[0] == expected


def test_neighbours_find_what_a_domain_repeats(tiny_dataset):
    """The tiny log mostly walks through a domain item by item, so co-occurrence beats chance."""
    result = fit_neighbours(tiny_dataset).evaluate("test")
    books = result.query_domains == 0
    assert result.answers["single"].ranks[books].mean() < (1 + 9) / 2
