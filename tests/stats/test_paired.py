from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t, ttest_1samp, ttest_rel

from syncrec.stats import PairedSample, paired_bootstrap, paired_p_value, paired_permutation_test


def normal_sample(num_units=400, shift=0.1, seed=0, **labels):
    rng = np.random.default_rng(seed)
    baseline = rng.normal(1.0, 0.5, num_units)
    return PairedSample(baseline + rng.normal(shift, 0.3, num_units), baseline, **labels)


def test_estimates_are_differences_of_means():
    sample = PairedSample(np.array([1.0, 2.0, 6.0]), np.array([1.0, 1.0, 4.0]))
    found = paired_bootstrap(sample, seed=0, num_resamples=10)
    assert found.absolute.estimate == pytest.approx(9 / 3 - 6 / 3)
    assert found.relative.estimate == pytest.approx(9 / 6 - 1)


def test_interval_of_a_large_sample_equals_the_normal_one():
    sample = normal_sample()
    difference = sample.candidate - sample.baseline
    half = 1.96 * difference.std() / np.sqrt(400)
    found = paired_bootstrap(sample, seed=1, num_resamples=8000).absolute
    assert found.low == pytest.approx(difference.mean() - half, abs=0.06 * half)
    assert found.high == pytest.approx(difference.mean() + half, abs=0.06 * half)


def test_bootstrap_ends_equal_those_of_every_possible_resample():
    candidate, baseline = np.array([1.0, 0.0, 0.5]), np.array([0.5, 0.5, 0.25])
    every = [
        (
            candidate[list(pick)].mean() - baseline[list(pick)].mean(),
            candidate[list(pick)].sum() / baseline[list(pick)].sum() - 1,
        )
        for pick in product(range(3), repeat=3)
    ]
    found = paired_bootstrap(PairedSample(candidate, baseline), seed=0, num_resamples=20_000, confidence=0.8)
    for column, interval in enumerate(found):
        low, high = np.quantile([e[column] for e in every], [0.1, 0.9], method="inverted_cdf")
        assert (interval.low, interval.high) == pytest.approx((low, high))


def test_interval_covers_the_truth_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        absolute = paired_bootstrap(normal_sample(60, seed=seed), seed=seed, num_resamples=200).absolute
        covered += absolute.low <= 0.1 <= absolute.high
    assert binomtest(covered, 200, 0.95).pvalue > 0.001


def test_copies_of_a_users_queries_add_no_certainty():
    base = normal_sample(100)
    copies = PairedSample(np.tile(base.candidate, 4), np.tile(base.baseline, 4), clusters=np.tile(np.arange(100), 4))
    single = paired_bootstrap(base, seed=0)
    clustered = paired_bootstrap(copies, seed=0)
    assert clustered.absolute == pytest.approx(single.absolute)
    assert paired_permutation_test(copies, seed=0) == paired_permutation_test(base, seed=0)


def test_strata_weigh_the_same_whatever_their_size():
    sample = PairedSample(np.array([1.0, 1, 1, 0.5]), np.array([0.5, 0.5, 0.5, 1]), strata=np.array([7, 7, 7, 9]))
    found = paired_bootstrap(sample, seed=0, num_resamples=20)
    assert found.absolute.estimate == pytest.approx(1 / 2 * (1 / 2 - 1 / 2))
    assert found.relative.estimate == pytest.approx(0)


def test_variance_between_seeds_alone_gives_the_interval_of_students_t():
    base = np.random.default_rng(0).random(50)
    levels = np.array([0.3, 0.1, 0.2, 0.4])
    sample = PairedSample(base + levels[:, None], np.tile(base, (4, 1)))
    found = paired_bootstrap(sample, seed=0).absolute
    half = t.ppf(0.975, 3) * levels.std(ddof=1) / 2
    assert found == pytest.approx((0.25, 0.25 - half, 0.25 + half))
    assert paired_p_value(sample, seed=0) == pytest.approx(ttest_1samp(levels, 0).pvalue)


def test_noise_within_a_seed_is_not_counted_twice():
    noise = np.random.default_rng(0).normal(size=(5, 2000))
    noise -= noise.mean(axis=1, keepdims=True)  # so that no seed is better than another
    sample = PairedSample(noise + 0.1, np.zeros((5, 2000)))
    means = PairedSample(sample.candidate.mean(axis=0), np.zeros(2000))
    found, over_users = (paired_bootstrap(s, seed=0).absolute for s in (sample, means))
    assert found == pytest.approx(over_users, rel=0.01)


@pytest.mark.parametrize(("repetitions", "numbers"), [("paired", (3, 3)), ("paired", (5, 5)), ("independent", (3, 5))])
def test_intervals_and_p_values_over_few_seeds_err_as_often_as_they_say(repetitions, numbers):
    rng = np.random.default_rng(sum(numbers))
    missed = false_alarms = 0
    for seed in range(200):
        users, sides = rng.normal(0, 0.02, 100), []
        for number in numbers:
            seeds = rng.normal(0, 0.003, (number, 1))
            sides.append(0.2 + seeds + rng.normal(0, 0.03, (number, 100)) + (users if not sides else 0))
        sample = PairedSample(*sides, repetitions=repetitions)
        found = paired_bootstrap(sample, seed=seed, num_resamples=200)
        missed += not found.absolute.low <= 0 <= found.absolute.high
        false_alarms += paired_p_value(sample, seed=seed, num_permutations=200) < 0.05
    assert binomtest(missed, 200, 0.05, alternative="greater").pvalue > 0.001
    assert binomtest(false_alarms, 200, 0.05, alternative="greater").pvalue > 0.001


def test_an_effect_beyond_users_and_seeds_is_found():
    rng = np.random.default_rng(0)
    candidate = 0.22 + rng.normal(0, 0.003, (5, 1)) + rng.normal(0, 0.03, (5, 400))
    sample = PairedSample(candidate, 0.2 + rng.normal(0, 0.03, (5, 400)))
    assert paired_bootstrap(sample, seed=0).relative.low > 0.04
    assert paired_p_value(sample, seed=0) < 0.01


def test_repetitions_that_are_equal_change_nothing():
    base = normal_sample(200)
    same = PairedSample(np.tile(base.candidate, (3, 1)), np.tile(base.baseline, (3, 1)))
    assert paired_bootstrap(same, seed=0).absolute == pytest.approx(paired_bootstrap(base, seed=0).absolute)
    assert paired_p_value(same, seed=0) == pytest.approx(paired_permutation_test(base, seed=0), abs=2e-4)


def test_one_seed_on_one_side_leaves_the_variance_of_the_other():
    values = np.full((3, 40), 0.5) + np.array([[0.1], [0.2], [0.3]])
    ours = PairedSample(values, np.full((1, 40), 0.5), repetitions="independent")
    theirs = PairedSample(np.full((1, 40), 0.5), values, repetitions="independent")
    half = t.ppf(0.975, 2) * 0.1 / 3**0.5
    assert paired_bootstrap(ours, seed=0).absolute == pytest.approx((0.2, 0.2 - half, 0.2 + half))
    assert paired_bootstrap(theirs, seed=0).absolute == pytest.approx((-0.2, -0.2 - half, -0.2 + half))
    # A ratio to what is known exactly, and one to what may be the mean less or more its half-width.
    assert paired_bootstrap(ours, seed=0).relative == pytest.approx((0.4, 0.4 - 2 * half, 0.4 + 2 * half))
    found = paired_bootstrap(theirs, seed=0).relative
    assert found == pytest.approx((-2 / 7, 0.5 / (0.7 + half) - 1, 0.5 / (0.7 - half) - 1))


@given(st.integers(0, 10_000), st.sampled_from(["paired", "independent"]), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_both_intervals_leave_out_zero_or_none_does(seed, repetitions, number):
    rng = np.random.default_rng(seed)
    sides = [rng.random((number, 12)) ** 8 * rng.random((number, 1)) * scale for scale in (1, rng.choice([1, 4]))]
    found = paired_bootstrap(PairedSample(*sides, repetitions=repetitions), seed=seed, num_resamples=100)
    assert found.relative.low >= -1
    assert found.relative.low <= found.relative.estimate <= found.relative.high
    assert (found.relative.low > 0) == (found.absolute.low > 0)
    assert (found.relative.high < 0) == (found.absolute.high < 0)


@given(st.integers(0, 10_000), st.sampled_from(["paired", "independent"]), st.integers(2, 4), st.integers(1, 10))
@settings(max_examples=100, deadline=None)
def test_few_users_with_hits_and_misses_give_numbers(seed, repetitions, number, num_users):
    rng = np.random.default_rng(seed)
    sides = [(rng.random((number, num_users)) < share).astype(float) for share in rng.random(2)]
    sample = PairedSample(*sides, repetitions=repetitions)
    found = paired_bootstrap(sample, seed=seed, num_resamples=50)
    assert 0 < paired_p_value(sample, seed=seed, num_permutations=20) <= 1
    assert -20 < found.absolute.low <= found.absolute.estimate <= found.absolute.high < 20
    if sample.baseline.any():
        assert found.relative.low >= 0 if found.absolute.low > 0 else found.relative.low <= 0
        assert found.relative.high <= 0 if found.absolute.high < 0 else found.relative.high >= 0


@pytest.mark.parametrize(
    ("candidate", "baseline"),
    [([[1, 0], [0, 1]], [[0, 0], [0, 0]]), ([[0, 1, 0], [0, 0, 1]], [[1, 1, 1], [0, 1, 1]])],
)
def test_variances_that_cancel_leave_the_degrees_of_freedom_of_the_seeds(candidate, baseline):
    sample = PairedSample(np.array(candidate, dtype=float), np.array(baseline, dtype=float))
    assert 0 < paired_p_value(sample, seed=0) <= 1
    assert np.isfinite(paired_bootstrap(sample, seed=0).absolute).all()


def test_a_candidate_without_a_hit_has_an_open_relative_difference_too():
    sample = PairedSample(np.zeros((2, 6)), np.array([[1.0] * 6, [0.0] * 6]))
    found = paired_bootstrap(sample, seed=0)
    assert found.absolute.high > 0
    assert (found.relative.estimate, found.relative.low) == (-1, -1)
    assert found.relative.high > 0


def test_a_baseline_that_may_be_zero_leaves_the_relative_difference_open():
    values = np.full((2, 40), 1.0) * np.array([[0.1], [0.9]])
    found = paired_bootstrap(PairedSample(np.full((2, 40), 0.5), values), seed=0)
    assert found.relative.high == np.inf
    assert found.absolute.high < np.inf


def test_repetitions_of_other_numbers_are_refused_where_they_are_paired():
    values = {"candidate": np.ones((3, 4)), "baseline": np.ones((2, 4))}
    with pytest.raises(ValueError, match=r"paired values of shapes \(3, 4\) and \(2, 4\)"):
        PairedSample(**values)
    sample = PairedSample(**values, repetitions="independent")
    assert paired_bootstrap(sample, seed=0).absolute == (0, 0, 0)
    assert paired_permutation_test(sample, seed=0) == 1
    with pytest.raises(ValueError, match="paired values of shapes"):
        PairedSample(np.ones((3, 4)), np.ones((3, 5)), repetitions="independent")


def test_permutation_test_is_of_the_means_over_repetitions():
    candidate, baseline = np.random.default_rng(0).random((3, 8)), np.random.default_rng(1).random((2, 8))
    independent = PairedSample(candidate, baseline, repetitions="independent")
    means = PairedSample(candidate.mean(axis=0), baseline.mean(axis=0))
    assert paired_permutation_test(independent, seed=0) == paired_permutation_test(means, seed=0)


def test_baseline_of_zero_gives_an_infinite_relative_difference_and_no_nan():
    found = paired_bootstrap(PairedSample(np.array([0.0, 1.0]), np.zeros(2)), seed=0, num_resamples=50)
    assert found.relative == (np.inf, 0, np.inf)
    assert paired_bootstrap(PairedSample(np.zeros(2), np.zeros(2)), seed=0).relative == (0, 0, 0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_swapping_the_treatments_mirrors_the_difference(pairs):
    a, b = np.array(pairs).T.copy()
    forward = paired_bootstrap(PairedSample(a, b), seed=0, num_resamples=39).absolute
    backward = paired_bootstrap(PairedSample(b, a), seed=0, num_resamples=39).absolute
    assert forward == pytest.approx((-backward.estimate, -backward.high, -backward.low))
    assert paired_permutation_test(PairedSample(a, b), seed=0, num_permutations=50) == paired_permutation_test(
        PairedSample(b, a), seed=0, num_permutations=50
    )


def test_permutation_p_value_equals_that_of_every_flip():
    difference = np.array([0.4, -0.1, 0.3, 0.2, 0.25, -0.05])
    sums = [abs(np.dot(signs, difference)) for signs in product([-1, 1], repeat=6)]
    exact = np.mean(np.array(sums) >= abs(difference.sum()) - 1e-12)
    found = paired_permutation_test(PairedSample(difference, np.zeros(6)), seed=0, num_permutations=100_000)
    assert found == pytest.approx(exact, abs=0.005)


def test_permutation_p_value_is_close_to_the_t_test_of_a_large_sample():
    sample = normal_sample(300, shift=0.03, seed=4)
    expected = ttest_rel(sample.candidate, sample.baseline).pvalue
    assert paired_permutation_test(sample, seed=0) == pytest.approx(expected, abs=0.015)


def test_no_difference_has_p_value_one():
    assert paired_permutation_test(PairedSample(np.ones(9), np.ones(9)), seed=0) == 1


def test_same_seed_gives_the_same_interval_and_p_value():
    sample = normal_sample(50)
    assert paired_bootstrap(sample, seed=3) == paired_bootstrap(sample, seed=3)
    assert paired_bootstrap(sample, seed=3) != paired_bootstrap(sample, seed=4)
    assert paired_permutation_test(sample, seed=3) == paired_permutation_test(sample, seed=3)


@pytest.mark.parametrize(("left", "right"), [(3, 4), (0, 0)])
def test_unpaired_or_empty_values_are_refused(left, right):
    with pytest.raises(ValueError, match="paired values of shapes"):
        PairedSample(np.zeros(left), np.zeros(right))
