"""Training in several processes is training in one: the same losses, weights and corrections, to 1e-5."""

import members
import numpy as np
import pytest

from syncrec.data.dataset import Dataset
from syncrec.errors import ConfigError

EVERY_PART = {"loss": {"kind": "sampled", "num_negatives": 6, "mutual_information_weight": 0.5}}


@pytest.fixture
def trained(in_processes, shared_dataset_path, tmp_path):
    def run(size, sections, **options):
        return in_processes(_steps, size, shared_dataset_path, tmp_path / f"{size}", sections, options)

    return run


def _steps(path, out, sections, options):
    return members.steps(path, out, sections, **options)


def assert_same(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found["values"], expected["values"], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found["weights"], expected["weights"], rtol=tolerance, atol=tolerance)
    assert set(found["state"]) == set(expected["state"])
    for name, value in expected["state"].items():
        np.testing.assert_allclose(found["state"][name], value, rtol=tolerance, atol=tolerance, err_msg=name)


def assert_all_processes_agree(found):
    for other in found[1:]:
        assert other["weights"] == found[0]["weights"]
        for name, value in found[0]["state"].items():
            np.testing.assert_array_equal(other["state"][name], value, err_msg=name)


@pytest.mark.parametrize(
    "sections",
    [
        EVERY_PART,
        {"loss": {"kind": "full", "mutual_information_weight": 0.5}},
        {"loss": {"kind": "bce", "num_negatives": 2}},
        {"training": {"item_updates": "rows"}, **EVERY_PART},
        {"model": {"name": "sasrec"}, "loss": {"kind": "full"}},
        {"loss": {**EVERY_PART["loss"], "mean_over": "users"}},
    ],
    ids=["sampled", "full", "bce", "rows of the table", "one answer", "means over users"],
)
def test_two_processes_are_one(trained, sections):
    (alone,) = trained(1, sections)
    found = trained(2, sections)
    assert len(alone["values"]) == members.NUM_STEPS
    assert_all_processes_agree(found)
    assert_same(found[0], alone)


def test_four_processes_are_one(trained):
    found = trained(4, EVERY_PART)
    assert_all_processes_agree(found)
    assert_same(found[0], trained(1, EVERY_PART)[0])


def test_communities_that_do_not_read_each_other_change_nothing_of_that(trained):
    found = trained(2, EVERY_PART, communities=(0, 1, 0))
    assert_all_processes_agree(found)
    assert_same(found[0], trained(1, EVERY_PART, communities=(0, 1, 0))[0])


def test_without_averaging_processes_part(trained):
    found = trained(2, EVERY_PART, is_averaged=False)
    with pytest.raises(AssertionError):
        assert_all_processes_agree(found)
    with pytest.raises(AssertionError):
        assert_same(found[0], trained(1, EVERY_PART)[0])


def test_a_process_may_have_no_user_of_a_batch(trained):
    found = trained(4, EVERY_PART, num_users=12)  # batches of ten, and of two
    assert_all_processes_agree(found)
    assert_same(found[0], trained(1, EVERY_PART, num_users=12)[0])


@pytest.mark.parametrize("name", ["bert4rec", "c2dsr", "cgrec", "abxi", "mmoe", "sasrec-single"])
def test_every_model_learns_the_same_in_all_processes(trained, name):
    sections = {"model": {"name": name}, "loss": {"kind": "sampled", "num_negatives": 6}}
    found = trained(2, sections, num_users=21)  # a last batch of one user, so of none for a process
    assert_all_processes_agree(found)
    assert np.isfinite(found[0]["values"]).all()


def test_networks_of_their_own_ask_a_shared_out_table_as_often_in_every_process(trained):
    sections = {"model": {"name": "sasrec-single", **members.RANDOM}, **EVERY_PART}
    found = trained(2, sections, num_users=21, is_sharded=True)
    assert_same(found[0], trained(1, sections, num_users=21)[0])


@pytest.mark.parametrize("communities", [(0, 0, 1), (0, 1, 2)])
def test_so_do_those_of_domains_that_read_themselves_alone(trained, communities):
    sections = {"model": members.RANDOM, **EVERY_PART}
    found = trained(2, sections, num_users=21, is_sharded=True, communities=communities)
    assert_same(found[0], trained(1, sections, num_users=21, communities=communities)[0])


def test_a_model_that_asks_in_some_processes_only_is_refused_a_shared_out_table(trained):
    for found in trained(2, {"model": {"name": "cgrec", **members.RANDOM}}, is_sharded=True):
        assert isinstance(found, ConfigError)
        assert "model.sharded_items = true cannot be had with cgrec" in str(found)


def test_every_history_is_read_by_one_process(in_processes, shared_dataset_path, tmp_path):
    (alone,) = in_processes(members.users_seen, 1, shared_dataset_path, tmp_path / "1")
    shared = in_processes(members.users_seen, 3, shared_dataset_path, tmp_path / "3")
    trained = Dataset(shared_dataset_path).train_end - Dataset(shared_dataset_path).user_offsets[:-1]
    assert sum(total for total, _ in alone) == np.minimum(trained, 7).sum()
    for (total, targets), *parts in zip(alone, *shared, strict=True):
        assert all(part[0] == total == len(targets) for part in parts)
        assert sorted(targets) == sorted(item for part in parts for item in part[1])


def test_validation_is_shared_out_and_put_together(in_processes, shared_dataset_path, tmp_path):
    (alone,) = in_processes(members.validation, 1, shared_dataset_path, tmp_path / "1")
    assert in_processes(members.validation, 3, shared_dataset_path, tmp_path / "3") == [alone] * 3


def test_communities_are_found_once_and_known_to_all(in_processes, shared_dataset_path):
    assert in_processes(members.found_communities, 2, shared_dataset_path) == [(0, 1, 0)] * 2
