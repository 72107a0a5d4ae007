import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from syncrec.stats import holm_correction, wilson_interval


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.99))
def test_wilson_interval_equals_scipys(counts, confidence):
    successes, trials = counts
    found = wilson_interval(successes, trials, confidence)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    if trials:
        expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_interval_of_more_successes_than_trials_is_refused():
    with pytest.raises(ValueError, match=r"within 0\.\.3, got 4"):
        wilson_interval(4, 3)


def test_holm_correction_by_hand():
    assert holm_correction([0.01, 0.04, 0.03]) == pytest.approx([3 * 0.01, 2 * 0.03, 2 * 0.03])
    assert holm_correction([0.6, 0.5]) == [1, 1]
    assert holm_correction([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_as_its_step_down_procedure_does(p_values):
    corrected = holm_correction(p_values)
    rejected, remaining = set(), sorted(range(len(p_values)), key=lambda i: p_values[i])
    while remaining and p_values[remaining[0]] * len(remaining) <= 0.05:
        rejected.add(remaining.pop(0))
    assert {i for i, p in enumerate(corrected) if p <= 0.05} == rejected
