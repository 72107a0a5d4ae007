import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncrec.planning.laws import Law, fit_law, relative_errors
from syncrec.planning.network import fit_network
from syncrec.planning.work import Work

WORKS = [Work(1e9, 1e6, 1), Work(2e9, 1e8, 1), Work(5e8, 4e7, 3), Work(4e9, 1e7, 2)]


def test_a_law_is_found_again_from_what_it_says():
    law = Law(per_flop=2e-11, per_byte=1e-10, per_call=1e-3)
    found = fit_law([(work, law.seconds(work)) for work in WORKS])
    assert found.per_flop == pytest.approx(2e-11)
    assert found.per_byte == pytest.approx(1e-10)
    assert found.per_call == pytest.approx(1e-3)


def test_seconds_by_hand():
    assert Law(per_flop=2, per_byte=3, per_call=5).seconds(Work(1, 10, 100)) == 2 + 30 + 500


@given(st.lists(st.floats(1e-6, 1.0), min_size=4, max_size=4))
def test_no_coefficient_is_below_zero_whatever_was_measured(seconds):
    law = fit_law(list(zip(WORKS, seconds, strict=True)))
    assert min(law.per_flop, law.per_byte, law.per_call) >= 0


def test_small_and_large_measurements_count_alike():
    # Errors are relative: a line through (1, 1) and (100, 200) is off by the same factor at both ends.
    measured = [(Work(flops=1), 1.0), (Work(flops=100), 200.0)]
    errors = relative_errors(fit_law(measured), measured)
    assert errors[0] == pytest.approx(0.2)
    assert errors[1] == pytest.approx(-0.4)


def test_latency_and_bandwidth_of_a_link_are_found_again():
    sizes = [2**12, 2**20, 2**25]
    seconds = [2 * 1e-4 + size / 1e9 for size in sizes]  # two processes: two messages, and the size once
    link = fit_network(sizes, seconds, 2)
    assert link.latency_s == pytest.approx(1e-4, rel=1e-3)
    assert link.bytes_per_s == pytest.approx(1e9, rel=1e-3)
