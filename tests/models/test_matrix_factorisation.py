"""BPR-MF: its cost by hand, what it is trained on, and that it learns what popularity cannot."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch

from builders import tiny_arrays
from syncrec import artifacts
from syncrec.baselines import fit_matrix_factorisation, fit_popularity
from syncrec.data.dataset import Dataset, write_dataset
from syncrec.errors import DataError
from syncrec.models.matrix_factorisation import (
    FactorSettings,
    TrainingTriples,
    factor_scorer,
    fit_factors,
    pairwise_cost,
    refit_factors,
)

QUICK = FactorSettings(dim=4, batch_size=16, epochs=3, validate_every=1)


def written(path, histories, domain_sizes, num_held_out=2):
    """A dataset whose last `num_held_out` events a user are no training; a test event, then validation before it."""
    offsets = np.cumsum([0, *map(len, histories)]).astype(np.int64)
    train_end = np.maximum(offsets[:-1], offsets[1:] - num_held_out)
    arrays = dataclasses.replace(
        tiny_arrays(),
        user_offsets=offsets,
        items=np.concatenate(histories).astype(np.int32),
        timestamps=np.arange(offsets[-1], dtype=np.int64),
        train_end=train_end,
        validation_end=np.maximum(train_end, offsets[1:] - 1),
        item_counts=counts(histories, train_end - offsets[:-1], sum(domain_sizes)),
        users=[f"u{number:03d}" for number in range(len(histories))],
        items_of_domain=[[f"{d}-{i:02d}" for i in range(size)] for d, size in enumerate(domain_sizes)],
        domains=[f"domain {d}" for d in range(len(domain_sizes))],
    )
    with artifacts.staged_directory(path) as stage:
        write_dataset(stage, arrays, {"settings": {"max_history": None}})
    return Dataset(path)


def counts(histories, num_training, num_items):
    trained = [item for history, n in zip(histories, num_training, strict=True) for item in history[:n]]
    return np.bincount(np.asarray(trained, dtype=np.int64), minlength=num_items).astype(np.int64)


def tastes(num_users=120, num_groups=4, items_a_group=6):
    """Users of four groups, each with items of its own in both domains, all equally popular."""
    random = np.random.default_rng(5)
    size = num_groups * items_a_group
    histories = []
    for user in range(num_users):
        own = user % num_groups * items_a_group + np.arange(items_a_group)
        wanted = np.concatenate([own, own + size])
        histories.append(random.permutation(wanted)[:10].tolist())
    return histories, (size, size)


def test_cost_by_hand():
    user, item, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 1.0]]), torch.tensor([[1.0, 0.0]])
    # x_ui - x_uj = 2.5 - 1 + .3; the squares are 5, 1.25 and 1.
    expected = math.log(1 + math.exp(-1.8)) + 0.1 * (5 + 1.25 + 1)
    found = pairwise_cost(user, item, other, torch.tensor([0.3]), 0.1)
    assert float(found) == pytest.approx(expected)


def test_cost_is_the_mean_over_triples_and_falls_with_the_difference():
    rows = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    biases = torch.zeros(5)
    each = [float(pairwise_cost(*rows[:, n : n + 1], biases[:1], 0.2)) for n in range(5)]
    assert float(pairwise_cost(*rows, biases, 0.2)) == pytest.approx(np.mean(each))
    assert pairwise_cost(*rows, biases + 1, 0.2) < pairwise_cost(*rows, biases, 0.2)


def test_every_training_event_meets_an_item_of_its_domain_that_the_user_lacks(tiny_dataset):
    triples, random = TrainingTriples(tiny_dataset), np.random.default_rng(0)
    offsets, ends = tiny_dataset.user_offsets, tiny_dataset.train_end
    had = {u: set(tiny_dataset.items[offsets[u] : ends[u]].tolist()) for u in range(tiny_dataset.num_users)}
    users, items, others = triples.draw(random)
    domains = tiny_dataset.domain_of(items)
    assert np.array_equal(tiny_dataset.domain_of(others), domains)
    assert all(other not in had[user] for user, other in zip(users.tolist(), others.tolist(), strict=True))
    # Food has one item, so nothing can be learned there; elsewhere no event is lost.
    expected = sorted((u, i) for u in had for i in tiny_dataset.items[offsets[u] : ends[u]].tolist() if i != 9)
    assert sorted(zip(users.tolist(), items.tolist(), strict=True)) == expected


def test_negatives_are_every_item_that_the_user_lacks(tmp_path):
    dataset = written(tmp_path / "data", [[0, 1, 4, 2, 3], [4, 5, 0]], (4, 3))
    triples, random = TrainingTriples(dataset), np.random.default_rng(0)
    drawn = {(u, o) for _ in range(100) for u, _, o in zip(*(p.tolist() for p in triples.draw(random)), strict=True)}
    assert drawn == {(0, 2), (0, 3), (0, 5), (0, 6), (1, 5), (1, 6)}


def test_a_user_who_has_the_whole_domain_is_no_example(tmp_path):
    dataset = written(tmp_path / "data", [[0, 1, 2, 0, 0]], (2, 2))
    users, items, others = TrainingTriples(dataset).draw(np.random.default_rng(0))
    assert (users.tolist(), items.tolist(), others.tolist()) == ([0], [2], [3])


def test_the_same_seed_gives_the_same_factors(tiny_dataset):
    first, again, other = (fit_factors(tiny_dataset, lambda _: 0.0, seed, QUICK)[0] for seed in (1, 1, 2))
    assert torch.equal(first.users, again.users)
    assert torch.equal(first.items, again.items)
    assert not torch.equal(first.items, other.items)


def test_training_draws_from_no_global_generator_and_warns_of_nothing(tiny_dataset):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_factors(tiny_dataset, lambda _: 0.0, 0, QUICK)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_best_epoch_is_kept_and_patience_ends_training(tiny_dataset):
    values, seen = iter([0.1, 0.3, 0.2, 0.3, 0.1, 0.9]), []

    def value(factors):
        seen.append(factors)
        return next(values)

    settings = dataclasses.replace(QUICK, epochs=50, patience=3)
    factors, epoch = fit_factors(tiny_dataset, value, 0, settings)
    assert (epoch, len(seen)) == (2, 5)
    assert factors is seen[1]
    assert not torch.equal(seen[1].items, seen[4].items)


def test_validation_comes_every_so_many_epochs_and_at_the_end(tiny_dataset):
    seen = []
    settings = dataclasses.replace(QUICK, epochs=5, validate_every=2, patience=99)
    _, epoch = fit_factors(tiny_dataset, lambda factors: seen.append(factors) or float(len(seen)), 0, settings)
    assert (len(seen), epoch) == (3, 5)


def test_what_comes_after_training_changes_no_factor(tiny_dataset, tmp_path):
    arrays = tiny_arrays()
    items = arrays.items.copy()
    for train_end, stop in zip(arrays.train_end, arrays.user_offsets[1:], strict=True):
        items[train_end:stop] = 0
    with artifacts.staged_directory(tmp_path / "data") as stage:
        write_dataset(stage, dataclasses.replace(arrays, items=items), {"settings": {"max_history": None}})
    found, expected = (fit_factors(d, lambda _: 0.0, 0, QUICK)[0] for d in (Dataset(tmp_path / "data"), tiny_dataset))
    assert torch.equal(found.items, expected.items)
    assert torch.equal(found.users, expected.users)


def test_a_score_is_the_inner_product_and_the_bias(tiny_dataset):
    factors, _ = fit_factors(tiny_dataset, lambda _: 0.0, 0, QUICK)
    queries = tiny_dataset.queries("test")
    found = factor_scorer(factors, queries).scores(np.asarray([5, 2]), 10, 20)
    for row, n in enumerate((5, 2)):
        user = factors.users[queries.users[n]]
        expected = [float(user[:-1] @ factors.items[item, :-1] + factors.items[item, -1]) for item in range(10, 20)]
        assert found[row] == pytest.approx(expected, abs=1e-6)


def test_a_user_without_training_events_gets_the_biases(tmp_path):
    histories = [[0, 1, 0, 1, 0, 1, 2, 3], [0, 1, 0, 0, 1, 2, 3], [3, 0]]
    dataset = written(tmp_path / "data", histories, (4,))
    factors, _ = fit_factors(dataset, lambda _: 0.0, 0, dataclasses.replace(QUICK, epochs=30, validate_every=30))
    assert factors.users[2].tolist() == [0.0] * QUICK.dim + [1.0]
    scores = factor_scorer(factors, dataset.queries("test")).scores(np.asarray([2]), 0, 4)[0]
    assert scores == pytest.approx(factors.items[:, -1].numpy())
    assert min(scores[:2]) > max(scores[2:])  # what others had, above what nobody had


@pytest.mark.parametrize("protocol", ["full", "sampled-999"])
def test_it_beats_popularity_where_tastes_differ(tmp_path, protocol):
    dataset = written(tmp_path / "data", *tastes())
    settings = dataclasses.replace(QUICK, dim=8, batch_size=128, epochs=20, validate_every=4)
    found = fit_matrix_factorisation(dataset, settings=settings).evaluate("test", protocol)
    floor = fit_popularity(dataset).evaluate("test", protocol)
    ours, theirs = found.summary("cross").macro["mrr"], floor.summary("popularity").macro["mrr"]
    assert ours > 2 * theirs


def test_the_result_says_what_was_trained(tiny_dataset):
    result = fit_matrix_factorisation(tiny_dataset, seed=3, settings=QUICK).evaluate("validation")
    assert (result.provenance.model, result.provenance.seed, set(result.answers)) == ("bpr-mf", 3, {"cross"})
    assert (result.provenance.config["dim"], result.provenance.config["refit"]) == (4, "none")
    other = fit_matrix_factorisation(tiny_dataset, seed=4, settings=QUICK).evaluate("validation")
    assert other.provenance.config == result.provenance.config, "seeds of one model are one group"
    assert "torch" in result.provenance.versions


def test_the_seed_of_negatives_does_not_train_anew(tiny_dataset):
    model = fit_matrix_factorisation(tiny_dataset, settings=QUICK)
    first, second = (model.evaluate("test", seed=s) for s in (0, 1))
    assert np.array_equal(first.answers["cross"].ranks, second.answers["cross"].ranks)


def test_a_second_fit_is_a_training_on_validation_events_too_for_as_many_epochs(tiny_dataset):
    later = _WithEnds(tiny_dataset, tiny_arrays().validation_end)
    for num_epochs in (1, 3):
        found = refit_factors(tiny_dataset, num_epochs, 2, QUICK)
        settings = dataclasses.replace(QUICK, epochs=num_epochs, validate_every=num_epochs)
        expected, epoch = fit_factors(later, lambda _: 0.0, 2, settings)
        assert epoch == num_epochs
        assert torch.equal(found.items, expected.items)
        assert torch.equal(found.users, expected.users)
    assert not torch.equal(found.items, fit_factors(tiny_dataset, lambda _: 0.0, 2, QUICK)[0].items)


class _WithEnds:
    """A dataset whose training events end elsewhere."""

    def __init__(self, dataset, train_end):
        self._dataset, self.train_end = dataset, train_end

    def __getattr__(self, name):
        return getattr(self._dataset, name)


@pytest.mark.parametrize("histories", [[[0, 1], [1, 2]], [[0, 1, 2]]], ids=["no training", "no validation"])
def test_a_dataset_that_cannot_be_trained_on_is_refused(tmp_path, histories):
    num_held_out = 2 if len(histories) == 2 else 0
    dataset = written(tmp_path / "data", histories, (4,), num_held_out)
    with pytest.raises(DataError, match="both must be at least 1"):
        fit_matrix_factorisation(dataset)
