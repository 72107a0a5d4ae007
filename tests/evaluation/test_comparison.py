import numpy as np
import pytest

from syncrec.errors import ArtifactError, UnknownNameError
from syncrec.evaluation import AnswerRanks, Contestant, EvaluationResult, Provenance, compare

NUM_QUERIES = 300
DOMAINS = np.arange(NUM_QUERIES) % 3 // 2  # Food twice as often as Kitchen; Books has no query


def result_of(ranks, seed=0, model="syncrec", **changes):
    fields = {
        "provenance": Provenance(model, seed),
        "protocol": "full",
        "split": "test",
        "negatives_seed": 0,
        "dataset_checksum": "abc",
        "domains": ("Food", "Kitchen", "Books"),
        "users": tuple(f"u{q}" for q in range(NUM_QUERIES)),
        "query_domains": DOMAINS,
        "answers": {name: AnswerRanks(np.asarray(r, dtype=float)) for name, r in ranks.items()},
    }
    return EvaluationResult(**{**fields, **changes})


@pytest.fixture
def mixed():
    """The cross answer halves the rank in Food and doubles it in Kitchen."""
    single = np.random.default_rng(0).integers(1, 5, NUM_QUERIES) * 2
    return result_of({"cross": np.where(DOMAINS == 0, single / 2, single * 2), "single": single})


def test_a_domain_that_gains_and_one_that_loses_are_told_apart(mixed):
    found = compare(Contestant([mixed], "cross"), Contestant([mixed], "single"), metric="mrr")
    assert (found.candidate, found.baseline) == ("syncrec cross", "syncrec single")
    assert {domain: difference.verdict for domain, difference in found.domains.items()} == {
        "Food": "gains",
        "Kitchen": "loses",
    }
    assert found.domains["Food"].relative.estimate == pytest.approx(2 - 1)
    assert found.domains["Kitchen"].relative.estimate == pytest.approx(1 / 2 - 1)
    assert found.domains["Food"].num_queries == 200
    assert found.domains["Food"].p_value < 0.001


def test_macro_difference_is_the_mean_over_domains(mixed):
    found = compare(Contestant([mixed], "cross"), Contestant([mixed], "single"), metric="hr@5")
    by_domain = [difference.absolute.estimate for difference in found.domains.values()]
    assert found.macro.absolute.estimate == pytest.approx(1 / 2 * sum(by_domain))
    assert found.macro.candidate_mean - found.macro.baseline_mean == pytest.approx(1 / 2 * sum(by_domain))


def test_equal_answers_are_neutral(mixed):
    found = compare(Contestant([mixed], "single"), Contestant([mixed], "single"))
    assert found.macro.verdict == found.domains["Food"].verdict == "neutral"
    assert found.macro.p_value == 1


def test_a_single_user_is_never_a_gain():
    one = {"users": ("ann",), "query_domains": np.array([0])}
    better, worse = (result_of({"x": [rank]}, **one) for rank in (1, 9))
    found = compare(Contestant([better], "x"), Contestant([worse], "x")).domains["Food"]
    assert found.absolute.low > 0
    assert found.verdict == "neutral"


def test_noise_is_neutral():
    rng = np.random.default_rng(2)
    first, second = (result_of({"only": rng.integers(1, 30, NUM_QUERIES)}, model=name) for name in "ab")
    found = compare(Contestant([first], "only"), Contestant([second], "only"))
    assert found.macro.verdict == "neutral"
    assert found.candidate == "a"


def test_seeds_pair_up_by_their_number_and_one_result_meets_them_all():
    rng = np.random.default_rng(0)
    ranks = [rng.integers(1, 30, NUM_QUERIES) for _ in range(3)]
    ours = [result_of({"x": r}, seed) for seed, r in enumerate(ranks)]
    theirs = [result_of({"x": r}, seed, "other") for seed, r in enumerate(ranks)]
    same = compare(Contestant(ours, "x"), Contestant(theirs[::-1], "x"))
    assert same.macro.absolute == (0, 0, 0)
    assert same.num_seeds == 3
    assert compare(Contestant(ours, "x"), Contestant(theirs[:1], "x")).num_seeds == 3
    with pytest.raises(ArtifactError, match="3 results of the candidate and 2 of the baseline"):
        compare(Contestant(ours, "x"), Contestant(theirs[:2], "x"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "sampled-100"}, "differ in protocol: 'full' and 'sampled-100'"),
        ({"split": "validation"}, "differ in split"),
        ({"dataset_checksum": "other"}, "differ in dataset_checksum"),
        ({"users": ("zoe",) * NUM_QUERIES}, "different queries"),
    ],
)
def test_results_of_other_questions_are_refused(mixed, changes, message):
    other = result_of({"single": np.ones(NUM_QUERIES)}, **changes)
    with pytest.raises(ArtifactError, match=message):
        compare(Contestant([mixed], "cross"), Contestant([other], "single"))


def test_the_draws_seed_matters_to_sampled_protocols_only(mixed):
    ones = {"single": np.ones(NUM_QUERIES)}
    other = result_of(ones, negatives_seed=9)
    assert compare(Contestant([mixed], "cross"), Contestant([other], "single")).macro.verdict == "loses"
    sampled = [
        result_of(ones, protocol="sampled-100", negatives_seed=seed, num_eligible=np.full(NUM_QUERIES, 500))
        for seed in (1, 2)
    ]
    with pytest.raises(ArtifactError, match="differ in negatives_seed: 1 and 2"):
        compare(Contestant(sampled[:1], "single"), Contestant(sampled[1:], "single"))


def test_unknown_metric_and_no_results_are_refused(mixed):
    with pytest.raises(UnknownNameError, match="unknown metric 'auc'"):
        compare(Contestant([mixed], "cross"), Contestant([mixed], "single"), metric="auc")
    with pytest.raises(ArtifactError, match="no results to compare"):
        compare(Contestant([], "cross"), Contestant([], "single"))
