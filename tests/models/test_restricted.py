"""A restricted batch is what packing makes of histories without the other domains' events."""

import numpy as np
import pytest
import torch

from builders import catalogue_of, query_batch, random_histories, shake, small_model, times_of, training_batch
from syncrec.models.restricted import domains_before, restrict

CATALOGUE = catalogue_of(5, 1, 7, 4)
HISTORIES = [[0, 6, 13, 12, 5, 2, 16], [9, 7], [3], *random_histories(CATALOGUE, [7, 5, 6], seed=3)]
T = 7


def domain_of(item):
    return int(np.searchsorted(CATALOGUE.offsets, item, side="right")) - 1


def questions(packed):
    """(user, events before) of every target of the packed batch, in its order."""
    places = [(user, place) for user, history in enumerate(HISTORIES) for place in range(len(history))]
    return [places[number] for number in packed.order]


def random_choice(seed):
    """A batch, some of its targets (one of them twice) and random domains to keep."""
    packed, batch = training_batch(CATALOGUE, HISTORIES, T)
    random = np.random.default_rng(seed)
    targets = np.sort(np.append(random.permutation(len(batch))[:9], len(batch) // 2))
    kept = random.random((10, CATALOGUE.num_domains)) < 0.5
    return packed, batch, torch.as_tensor(targets), torch.as_tensor(kept)


@pytest.mark.parametrize("seed", range(4))
def test_it_holds_the_events_of_the_kept_domains_and_no_others(seed):
    packed, batch, targets, kept = random_choice(seed)
    asked = restrict(batch, targets, kept)
    for row, (target, keeps) in enumerate(zip(targets.tolist(), kept.tolist(), strict=True)):
        user, place = questions(packed)[target]
        before = [(e, t) for e, t in zip(HISTORIES[user], times_of(HISTORIES[user]), strict=True)][:place]
        expected = [(e, t) for e, t in before if keeps[domain_of(e)]]
        length = int((asked.cross.segments[row] == row).sum())
        assert asked.cross.tokens[row, :length].tolist() == [CATALOGUE.num_items, *(e for e, _ in expected)]
        assert asked.cross.times[row, :length].tolist() == [0, *(t for _, t in expected)]
        assert asked.cross.positions[row, :length].tolist() == list(range(length))
        assert (asked.cross.segments[row, length:] == -1).all()
        assert int(asked.cross_slots[row]) == row * asked.cross.tokens.shape[1] + length - 1
    assert torch.equal(asked.targets, batch.targets[targets])
    assert torch.equal(asked.domain_counts, torch.bincount(batch.domains[targets], minlength=4))


@pytest.mark.parametrize("name", ["sasrec", "cgrec", "gru4rec"])
def test_its_answers_are_those_after_the_histories_without_the_other_events(name):
    model = small_model(CATALOGUE, name=name, max_length=T).eval()
    shake(model)
    packed, batch, targets, kept = random_choice(0)
    found = model.encode(restrict(batch, targets, kept))["cross"]
    for row, (target, keeps) in enumerate(zip(targets.tolist(), kept.tolist(), strict=True)):
        user, place = questions(packed)[target]
        pairs = list(zip(HISTORIES[user], times_of(HISTORIES[user]), strict=True))[:place]
        left = [(e, t) for e, t in pairs if keeps[domain_of(e)]]
        events, times = [e for e, _ in left], [t for _, t in left]
        _, query = query_batch(CATALOGUE, [events], [int(batch.domains[target])], T, [times])
        torch.testing.assert_close(found[row], model.encode(query)["cross"][0], atol=1e-5, rtol=1e-5)


def test_domains_before_a_target_are_those_of_the_events_before_it():
    packed, batch = training_batch(CATALOGUE, HISTORIES, T)
    found = domains_before(batch, torch.arange(len(batch)), CATALOGUE.num_domains)
    for row, (user, place) in zip(found.tolist(), questions(packed), strict=True):
        before = {domain_of(event) for event in HISTORIES[user][:place]}
        assert {domain for domain, is_there in enumerate(row) if is_there} == before
