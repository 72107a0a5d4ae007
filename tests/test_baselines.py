"""Models that are no run: what they are made of, and what may be asked of them."""

import numpy as np
import pytest

from syncrec.baselines import BASELINES, fit_baseline, fit_matrix_factorisation, fit_neighbours, fit_popularity
from syncrec.errors import ConfigError, UnknownNameError
from syncrec.models.matrix_factorisation import FactorSettings, factor_scorer, refit_factors
from syncrec.models.neighbours import ItemNeighbours
from syncrec.validation import best_factors


def num_events(dataset, ends):
    counts = np.zeros(dataset.num_items, dtype=np.int64)
    for start, end in zip(dataset.user_offsets[:-1], ends, strict=True):
        for item in dataset.items[start:end]:
            counts[item] += 1
    return counts


def test_popularity_counts_validation_events_in_a_second_fit_and_no_test_event(tiny_dataset):
    queries = tiny_dataset.queries("test")
    for refit, ends in (("none", tiny_dataset.train_end), ("validation", tiny_dataset.validation_end)):
        (scorer,) = fit_popularity(tiny_dataset, refit).make_scorers(queries).values()
        assert (
            scorer.scores(np.asarray([0]), 0, tiny_dataset.num_items)[0].tolist()
            == num_events(tiny_dataset, ends).astype(float).tolist()
        )
    assert not np.array_equal(num_events(tiny_dataset, tiny_dataset.train_end), num_events(tiny_dataset, ends))


def test_neighbours_know_validation_events_in_a_second_fit(tiny_dataset):
    queries = tiny_dataset.queries("test")
    scorer = fit_neighbours(tiny_dataset, "validation").make_scorers(queries)["cross"]
    found = scorer.scores(np.arange(len(queries)), 0, 10)
    own = ItemNeighbours(tiny_dataset, ends=np.asarray(tiny_dataset.validation_end)).similarities(0, 10).toarray()
    events = slice(int(queries.history_starts[0]), int(queries.target_events[0]))
    expected = sum(own[item] * 0.7**place for place, item in enumerate(tiny_dataset.items[events][::-1]))
    assert found[0] == pytest.approx(expected, rel=1e-5)
    assert not np.array_equal(own, ItemNeighbours(tiny_dataset).similarities(0, 10).toarray())


def test_a_second_fit_of_bpr_mf_takes_as_long_as_validation_chose(tiny_dataset):
    settings = FactorSettings(dim=4, batch_size=16, epochs=6, validate_every=1, learning_rate=0.05)
    _, epoch = best_factors(tiny_dataset, 0, settings)
    assert epoch < 6
    queries = tiny_dataset.queries("test")
    model = fit_matrix_factorisation(tiny_dataset, "validation", settings=settings)
    expected = factor_scorer(refit_factors(tiny_dataset, epoch, 0, settings), queries)
    numbers = np.arange(len(queries))
    found = model.make_scorers(queries)["cross"].scores(numbers, 0, 10)
    assert np.array_equal(found, expected.scores(numbers, 0, 10))


@pytest.mark.parametrize("name", BASELINES)
def test_another_word_for_the_second_fit_is_refused(tiny_dataset, name):
    with pytest.raises(ConfigError, match="refit must be one of none, validation, got 'validtion'"):
        fit_baseline(name, tiny_dataset, "validtion")


@pytest.mark.parametrize("name", BASELINES)
def test_what_knows_validation_events_is_not_asked_for_them(tiny_dataset, name):
    model = fit_baseline(name, tiny_dataset, "validation")
    assert model.evaluate("test").provenance.model == name
    with pytest.raises(ConfigError, match=f"{name} that is made of validation events .* evaluate the test split"):
        model.evaluate("validation")


def test_an_unknown_name_is_told_what_there_is(tiny_dataset):
    with pytest.raises(UnknownNameError, match="unknown model 'item-nn'; nearest: 'item-knn'; those that need no run"):
        fit_baseline("item-nn", tiny_dataset)
