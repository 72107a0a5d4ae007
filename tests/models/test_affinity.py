"""Which domains have to do with each other, on logs of which it is known."""

from dataclasses import replace

import numpy as np
import pytest

import syncrec
from syncrec.data.dataset import Dataset
from syncrec.data.noise import add_noise_domain
from syncrec.data.simulation import simulate_log
from syncrec.models.affinity import DomainAffinity, communities_of, domain_affinity


def affinity_of(estimate, error=0.0):
    estimate = np.asarray(estimate, dtype=np.float64)
    return DomainAffinity(estimate, np.full_like(estimate, error), np.full(estimate.shape, 100))


def measured(dataset: Dataset):
    return domain_affinity(dataset, np.asarray(dataset.train_end))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """The simulated log with a domain of noise on top."""
    folder = tmp_path_factory.mktemp("affinity")
    simulate_log(folder / "log.csv", num_users=1500, seed=2)
    add_noise_domain(folder / "log.csv", folder / "noisy.csv", num_items=200)
    return syncrec.prepare(folder / "noisy.csv", out=folder / "dataset")


def test_domains_made_to_tell_of_each_other_are_together_and_all_others_alone(simulated):
    assert simulated.domains == ("books", "calls", "films", "maps", "music", "noise")
    assert communities_of(measured(simulated)) == (0, 1, 0, 2, 0, 3)


def test_a_domain_tells_of_its_own_items_unless_it_is_noise(simulated):
    own = measured(simulated).estimate.diagonal()
    assert own[:5].min() > 0.75
    assert own[5] == pytest.approx(0.5, abs=0.05)


def test_what_tells_nothing_has_an_affinity_of_one_half_within_its_interval(simulated):
    found = measured(simulated)
    noise = np.concatenate([found.estimate[5, :5], found.estimate[:5, 5]])
    errors = np.concatenate([found.error[5, :5], found.error[:5, 5]])
    assert np.abs((noise - 0.5) / errors).max() < 4
    assert errors.max() < 0.01


def test_the_same_events_give_the_same_and_the_last_events_of_users_are_not_looked_at(simulated):
    found = measured(simulated)
    items = np.asarray(simulated.items).copy()
    later = np.ones(len(items), dtype=bool)
    for start, stop in zip(simulated.user_offsets, simulated.train_end, strict=False):
        later[start:stop] = False
    items[later] = 0

    class Changed:
        def __getattr__(self, name):
            return items if name == "items" else getattr(simulated, name)

    again = domain_affinity(Changed(), np.asarray(simulated.train_end))
    np.testing.assert_array_equal(again.estimate, found.estimate)


def test_too_few_events_show_nothing_so_all_stay_together(tiny_dataset):
    found = measured(tiny_dataset)
    assert communities_of(found) == (0, 0, 0)
    assert found.num_pairs.shape == (3, 3)


def test_no_event_at_all_shows_nothing(tiny_dataset):
    nothing = np.asarray(tiny_dataset.user_offsets[:-1])
    found = domain_affinity(tiny_dataset, nothing)
    assert np.isnan(found.estimate).all()
    assert communities_of(found) == (0, 0, 0)


def test_domains_that_a_third_one_connects_are_together():
    apart, near = 0.5, 0.7
    chain = [[near, near, apart, apart], [near, near, near, apart], [apart, near, near, apart], [apart] * 3 + [near]]
    assert communities_of(affinity_of(chain)) == (0, 0, 0, 1)


def test_a_domain_of_which_nothing_is_known_connects_nothing_that_is_unrelated():
    near, apart, nothing = 0.7, 0.5, np.nan
    estimate = [
        [near, near, apart, nothing],
        [near, near, apart, nothing],
        [apart, apart, near, nothing],
        [nothing, nothing, nothing, nothing],
    ]
    found = affinity_of(estimate)
    assert communities_of(replace(found, num_pairs=np.diag([100, 100, 150, 0]))) == (0, 0, 1, 0)
    assert communities_of(replace(found, num_pairs=np.diag([100, 100, 300, 0]))) == (0, 0, 1, 1)
    one_way = np.array([[near, apart], [nothing, near]])
    assert communities_of(affinity_of(one_way)) == (0, 0)


@pytest.mark.parametrize("num_shared", [0, 2, 12])
def test_a_few_users_show_nothing(tmp_path, num_shared):
    lines = ["user,item,domain,timestamp"]
    for user in range(200):
        domains = "ab" if user < num_shared else "ab"[user % 2]
        for domain in domains:
            lines += [f"u{user},{domain}{user % 4}-{n},{domain},{n}" for n in range(6)]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    found = measured(syncrec.prepare(tmp_path / "log.csv", out=tmp_path / "data"))
    assert found.estimate.diagonal().min() > 0.7
    assert np.isnan(found.estimate[0, 1])
    assert communities_of(found) == (0, 0)


def test_one_direction_is_enough_and_an_unsure_one_too():
    one_way = affinity_of([[0.7, 0.6], [0.5, 0.7]], error=0.001)
    assert not one_way.are_unrelated().any(axis=None, where=~np.eye(2, dtype=bool))
    unsure = affinity_of([[0.7, 0.5], [0.5, 0.7]], error=0.03)
    assert communities_of(unsure) == (0, 0)
    assert communities_of(replace(unsure, error=unsure.error / 10)) == (0, 1)


def test_a_single_domain_is_a_community():
    assert communities_of(affinity_of([[0.5]])) == (0,)
