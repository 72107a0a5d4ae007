import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, kstest

from syncrec.experimentation.assignment import arm_index, is_exposed, user_fraction
from syncrec.stats import sample_ratio_p_value

USERS = [f"user-{number}" for number in range(20_000)]


def arms(salt, shares=(0.5, 0.3, 0.2)):
    return np.array([arm_index(salt, user, shares) for user in USERS])


def test_fractions_are_uniform():
    assert kstest([user_fraction("salt", "arm", user) for user in USERS], "uniform").pvalue > 0.001


def test_users_are_shared_out_as_asked():
    counts = Counter(arms("salt").tolist())
    assert sample_ratio_p_value([counts[0], counts[1], counts[2]], (0.5, 0.3, 0.2)) > 0.001


@pytest.mark.parametrize(("one", "other"), [("a", "b"), ("2026-11", "2026-12"), ("books", "books2")])
def test_experiments_of_different_salts_are_independent(one, other):
    table = np.zeros((3, 3))
    np.add.at(table, (arms(one), arms(other)), 1)
    assert chi2_contingency(table).pvalue > 0.001


def test_exposure_and_arm_are_independent():
    exposed = np.array([is_exposed("salt", user, 0.3) for user in USERS])
    table = [[np.sum(exposed & (arms("salt") == arm)), np.sum(~exposed & (arms("salt") == arm))] for arm in range(3)]
    assert chi2_contingency(table).pvalue > 0.001
    assert exposed.mean() == pytest.approx(0.3, abs=0.015)


def test_a_larger_ramp_lets_users_in_and_sends_none_away():
    before = {user for user in USERS if is_exposed("salt", user, 0.1)}
    after = {user for user in USERS if is_exposed("salt", user, 0.4)}
    assert before < after
    assert all(is_exposed("salt", user, 1.0) for user in USERS)


def test_assignment_is_the_same_for_ever():
    digest = hashlib.blake2b(b"4:salt:3:arm:alice", digest_size=8).digest()
    assert user_fraction("salt", "arm", "alice") == (int.from_bytes(digest, "little") >> 11) / 2**53
    assert [arm_index("salt", user, (0.5, 0.5)) for user in ("alice", "bob", "carol", "dave")] == [1, 0, 0, 1]


@given(*3 * [st.text("ab:1ä", max_size=4)])
def test_salt_and_user_do_not_run_into_each_other(salt, user, other):
    assert 0 <= user_fraction(salt, "arm", user) < 1
    if other:
        assert user_fraction(salt + other, "arm", user) != user_fraction(salt, "arm", other + user)
