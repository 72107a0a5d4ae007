import json

import numpy as np
import pytest

from syncrec.errors import ArtifactError, UnknownNameError
from syncrec.evaluation import AnswerRanks, Contestant, EvaluationResult, Provenance, compare, compare_groups
from syncrec.evaluation.metrics import MACRO, METRICS
from syncrec.evaluation.seeds import SeedMean, seed_mean

USERS = ("ann", "bob", "cat", "dan")
DOMAINS = np.array([0, 0, 0, 1])


def result_of(ranks, seed=0, model="syncrec", answer="cross", **changes):
    fields = {
        "provenance": Provenance(model, seed),
        "protocol": "full",
        "split": "test",
        "negatives_seed": 0,
        "dataset_checksum": "abc",
        "domains": ("Food", "Kitchen", "Empty"),
        "users": USERS,
        "query_domains": DOMAINS,
        "answers": {answer: AnswerRanks(np.asarray(ranks, dtype=float))},
    }
    return EvaluationResult(**{**fields, **changes})


def many(model, make_ranks, seeds=3, num_queries=300, **changes):
    """Results over 300 users in two domains; `make_ranks` takes a generator."""
    where = {"users": tuple(f"u{q}" for q in range(num_queries)), "query_domains": np.arange(num_queries) % 2}
    generators = [np.random.default_rng([seed, len(model)]) for seed in range(seeds)]
    return [result_of(make_ranks(rng, num_queries), s, model, **where, **changes) for s, rng in enumerate(generators)]


def row_of(comparison, group, domain):
    (row,) = [row for row in comparison.rows if (row.group, row.domain) == (group, domain)]
    return row


TINY = {
    "base": [result_of([2, 4, 4, 2], 0, "base")],
    "ours": [result_of([1, 2, 4, 4], 3), result_of([1, 4, 4, 2], 1)],
}


def test_means_deviations_and_differences_by_hand():
    found = compare_groups(TINY, metric="mrr")
    food = row_of(found, "ours", "Food")
    first, second = (1 + 1 / 2 + 1 / 4) / 3, (1 + 1 / 4 + 1 / 4) / 3
    assert food.num_queries == 3
    assert food.means["mrr"].mean == pytest.approx((first + second) / 2)
    assert food.means["mrr"].deviation == pytest.approx(abs(first - second) / np.sqrt(2))
    baseline = (1 / 2 + 1 / 4 + 1 / 4) / 3
    assert food.difference.baseline_mean == pytest.approx(baseline)
    assert food.difference.relative.estimate == pytest.approx((first + second) / 2 / baseline - 1)
    kitchen = row_of(found, "ours", "Kitchen")
    assert kitchen.difference.absolute.estimate == pytest.approx((1 / 4 + 1 / 2) / 2 - 1 / 2)
    macro = row_of(found, "ours", MACRO)
    by_domain = [row.difference.absolute.estimate for row in (food, kitchen)]
    assert macro.difference.absolute.estimate == pytest.approx(sum(by_domain) / 2)
    assert macro.means["mrr"].mean == pytest.approx((food.means["mrr"].mean + kitchen.means["mrr"].mean) / 2)
    deviations = [(first + 1 / 4) / 2, (second + 1 / 2) / 2]
    assert macro.means["mrr"].deviation == pytest.approx(np.std(deviations, ddof=1))


def test_rows_are_by_domain_with_queries_then_their_mean_in_the_order_of_the_groups():
    found = compare_groups(TINY)
    places = [(domain, group) for domain in ("Food", "Kitchen", MACRO) for group in ("base", "ours")]
    assert [(row.domain, row.group) for row in found.rows] == places
    assert [(g.label, g.model, g.answer, g.seeds) for g in found.groups] == [
        ("base", "base", "cross", (0,)),
        ("ours", "syncrec", "cross", (1, 3)),
    ]
    assert all(set(row.means) == set(METRICS) for row in found.rows)


def test_the_first_group_is_the_baseline_unless_another_is_named():
    assert compare_groups(TINY).baseline == "base"
    named = compare_groups(TINY, "ours", "mrr")
    assert [row.group for row in named.rows if row.difference is None] == ["ours"] * 3
    forward, backward = compare_groups(TINY, metric="mrr"), named
    estimates = [row_of(c, g, MACRO).difference.absolute.estimate for c, g in ((forward, "ours"), (backward, "base"))]
    assert estimates[0] == pytest.approx(-estimates[1])


def test_one_seed_has_no_deviation():
    assert seed_mean([0.5]) == SeedMean(0.5, None)
    assert row_of(compare_groups(TINY), "base", "Food").means["hr@5"] == SeedMean(1.0, None)


def test_equal_groups_differ_by_nothing():
    ours = many("a", lambda rng, n: rng.integers(1, 30, n))
    found = compare_groups({"a": ours, "copy": ours})
    for domain in ("Food", "Kitchen", MACRO):
        difference = row_of(found, "copy", domain).difference
        assert difference.relative.estimate == 0
        assert difference.relative.low <= 0 <= difference.relative.high
        assert (difference.p_value, difference.verdict) == (1, "neutral")


def test_a_clearly_better_group_gains_and_the_seeds_need_not_pair_up():
    worse = many("worse", lambda rng, n: rng.integers(5, 30, n), seeds=2)
    better = many("better", lambda rng, n: rng.integers(1, 8, n), seeds=4)
    found = compare_groups({"worse": worse, "better": better})
    assert {row.difference.verdict for row in found.rows if row.difference} == {"gains"}
    assert {row.difference.verdict for row in compare_groups({"b": better, "w": worse}).rows if row.difference} == {
        "loses"
    }


def test_a_gain_of_one_lucky_seed_is_no_gain():
    """Users alone would call it one: each seed is the same for all of them."""
    ranks = [1, 21, 21, 21, 21]
    ours = [result for rank in ranks for result in many("a", lambda rng, n, rank=rank: np.full(n, rank), seeds=1)]
    ours = [result_of_seed(result, seed) for seed, result in enumerate(ours)]
    base = many("base", lambda rng, n: np.full(n, 20))
    difference = row_of(compare_groups({"base": base, "a": ours}, metric="mrr"), "a", MACRO).difference
    assert difference.p_value > 0.3
    assert difference.absolute.low < 1 / 21 - 1 / 20
    assert difference.verdict == "neutral"


def test_two_answers_of_the_same_runs_are_compared_run_by_run():
    """Runs of very different strength, in each of which the fused answer is better by a little."""
    rng = np.random.default_rng(0)
    singles = [rng.integers(1, 4 * strength, 300) for strength in (2, 8, 30)]
    runs = [
        result_of(single, seed, users=tuple(f"u{q}" for q in range(300)), query_domains=np.arange(300) % 2)
        for seed, single in enumerate(singles)
    ]
    both = [
        EvaluationResult(**{**fields_of(r), "answers": {"single": r.answers["cross"], "fused": AnswerRanks(better)}})
        for r, better in zip(runs, (np.maximum(single - 0.2, 1.0) for single in singles), strict=True)
    ]
    groups = {"single": both, "fused": both}
    found = row_of(compare_groups(groups, answers={"single": "single", "fused": "fused"}, metric="mrr"), "fused", MACRO)
    paired = compare(Contestant(both, "fused"), Contestant(both, "single"), metric="mrr").macro
    assert found.difference == paired
    other = [result_of_seed(result, seed) for seed, result in enumerate(both, start=1)]
    apart = compare_groups(
        {"single": both, "fused": other}, answers={"single": "single", "fused": "fused"}, metric="mrr"
    )
    wide = row_of(apart, "fused", MACRO).difference.absolute
    assert wide.high - wide.low > 5 * (paired.absolute.high - paired.absolute.low)


def result_of_seed(result, seed):
    return EvaluationResult(**{**fields_of(result), "provenance": Provenance(result.provenance.model, seed)})


def fields_of(result):
    return {name: getattr(result, name) for name in EvaluationResult.__dataclass_fields__}


def test_p_values_are_corrected_for_the_number_of_domains():
    rng = np.random.default_rng(0)
    base = many("base", lambda _, n: rng.integers(1, 9, n), seeds=1)
    ours = many("ours", lambda _, n: np.maximum(1, base[0].answers["cross"].ranks - (rng.random(n) < 0.06)), seeds=1)
    found = compare_groups({"base": base, "ours": ours}, metric="mrr")
    alone = []
    for number in (0, 1):
        parts = [part_of(result, result.query_domains == number) for result in (base[0], ours[0])]
        alone.append(row_of(compare_groups({"b": parts[:1], "o": parts[1:]}, metric="mrr"), "o", MACRO).difference)
    corrected = [row_of(found, "ours", domain).difference.p_value for domain in ("Food", "Kitchen")]
    raw = [difference.p_value for difference in alone]
    assert min(corrected) == pytest.approx(2 * min(raw))
    assert max(corrected) == pytest.approx(max(*raw, 2 * min(raw)))


def part_of(result, mask):
    cut = {
        "users": tuple(np.array(result.users)[mask]),
        "query_domains": result.query_domains[mask],
        "answers": {name: AnswerRanks(entry.ranks[mask]) for name, entry in result.answers.items()},
    }
    return EvaluationResult(**{**fields_of(result), **cut})


def test_the_same_seed_gives_the_same_numbers():
    groups = {name: many(name, lambda rng, n: rng.integers(1, 30, n)) for name in ("a", "bb")}
    one, two, three = (compare_groups(groups, seed=seed).content() for seed in (1, 1, 2))
    assert one == two
    assert one != three


def test_answers_are_chosen_by_group_or_for_all():
    both = {"cross": AnswerRanks(np.ones(4)), "fused": AnswerRanks(np.full(4, 2.0))}
    groups = {"base": TINY["base"], "ours": [result_of([], answers=both)]}
    for answers, expected in [(None, 1 / 2), ("cross", 1), ({"ours": "cross"}, 1), ({"base": "cross"}, 1 / 2)]:
        found = compare_groups(groups, answers=answers)
        assert row_of(found, "ours", "Food").means["mrr"].mean == expected
    with pytest.raises(UnknownNameError, match="unknown answer 'single'"):
        compare_groups(groups, answers={"ours": "single"})


def test_the_expected_estimate_leaves_out_the_draw():
    sampled = {"protocol": "sampled-999", "num_eligible": np.full(4, 500)}
    results = [
        result_of([], seed, answers={"cross": AnswerRanks(np.full(4, rank), np.full(4, 1))}, **sampled)
        for seed, rank in enumerate((1.0, 2.0))
    ]
    assert row_of(compare_groups({"a": results}, estimate="expected"), "a", MACRO).means["mrr"].deviation == 0
    assert row_of(compare_groups({"a": results}), "a", MACRO).means["mrr"].deviation > 0


def test_content_is_plain_json_and_infinity_is_null():
    groups = {"zero": [result_of([50] * 4)], "ours": [result_of([1] * 4), result_of([2] * 4, 1)]}
    content = compare_groups(groups, metric="hr@10").content()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    row = next(row for row in content["rows"] if row["group"] == "ours" and row["domain"] == "Food")
    assert row["difference"]["relative"] == {"estimate": None, "low": None, "high": None}
    assert row["difference"]["absolute"] == {"estimate": 1.0, "low": 1.0, "high": 1.0}
    assert row["means"]["mrr"] == {"mean": 0.75, "deviation": pytest.approx(0.5 / np.sqrt(2))}
    assert content["groups"][1] == {"label": "ours", "model": "syncrec", "answer": "cross", "seeds": [0, 1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"protocol": "sampled-100"},
            r"in protocol: 'full' and 'sampled-100' \(a seed 0 and b seed 0\); evaluate all w",
        ),
        ({"split": "validation"}, "in split: 'test' and 'validation'"),
        ({"dataset_checksum": "d" * 64}, r"in dataset_checksum: 'abc' and 'dddddddddddd...' .*on one prepared dataset"),
        ({"users": ("zoe",) * 4}, r"different queries \(a seed 0 and b seed 0\)"),
    ],
)
def test_groups_of_other_questions_are_refused(changes, message):
    with pytest.raises(ArtifactError, match=message):
        compare_groups({"a": [result_of([1] * 4)], "b": [result_of([1] * 4, **changes)]})


def test_what_is_no_group_is_refused():
    one = result_of([1] * 4)
    with pytest.raises(ArtifactError, match="no results to compare"):
        compare_groups({})
    with pytest.raises(ArtifactError, match="group 'b' has no results"):
        compare_groups({"a": [one], "b": []})
    with pytest.raises(ArtifactError, match=r"group 'a' holds seed 0 twice \(x.json and y.json\)"):
        compare_groups({"a": [one, one]}, names={"a": ["x.json", "y.json"]})
    with pytest.raises(
        ArtifactError, match=r"group 'a' is of two models, 'syncrec' \(a seed 0\) and 'sasrec' \(a seed 1"
    ):
        compare_groups({"a": [one, result_of([1] * 4, 1, "sasrec")]})
    with pytest.raises(UnknownNameError, match="unknown group 'aa'; nearest: 'a'; the groups are a"):
        compare_groups({"a": [one]}, "aa")
    with pytest.raises(UnknownNameError, match="unknown metric 'auc'"):
        compare_groups({"a": [one]}, metric="auc")
