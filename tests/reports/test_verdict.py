import numpy as np
import pytest

from syncrec.errors import ArtifactError
from syncrec.evaluation import AnswerRanks, EvaluationResult, Provenance
from syncrec.evaluation.comparison import Difference
from syncrec.reports.verdict import own_verdicts, per_cent, verdict_lines, verdict_sentence, verdicts_of_groups
from syncrec.stats import Interval

NUM = 300
GOOD, BAD, POOR = np.ones(NUM), np.full(NUM, 4.0), np.full(NUM, 90.0)


def difference(estimate, low, high, p_value=0.001):
    return Difference(
        100, 0.2 * (1 + estimate), 0.2, Interval(estimate, low, high), Interval(estimate, low, high), p_value
    )


def result_of(model="syncrec", seed=0, split="test", **answers):
    return EvaluationResult(
        provenance=Provenance(model, seed, {"training": {"seed": seed}}),
        protocol="full",
        split=split,
        negatives_seed=0,
        dataset_checksum="abc",
        domains=("Food", "Maps", "Empty"),
        users=tuple(f"u{n}" for n in range(NUM)),
        query_domains=np.arange(NUM) % 2,
        answers={name: AnswerRanks(np.asarray(ranks)) for name, ranks in answers.items()},
    )


def by_domain(food, maps):
    return np.where(np.arange(NUM) % 2 == 0, food, maps)


JOINT = result_of(cross=by_domain(GOOD, POOR), single=BAD, fused=by_domain(GOOD, BAD))


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ((0.06, 0.03, 0.094), "Kitchen gains 6.0 % NDCG@10 from joint training, 95 % interval 3.0 to 9.4 %."),
        ((-0.2, -0.31, -0.1), "Kitchen loses 20 % NDCG@10 by joint training, 95 % interval 10 to 31 %."),
        ((0.036, -0.063, 0.147), "Kitchen shows no clear change: NDCG@10 +3.6 %, 95 % interval -6.3 to +15 %."),
        ((0.2, 0.1, 0.3, 0.2), "Kitchen shows no clear change: NDCG@10 +20 %, 95 % interval +10 to +30 %."),
        ((0.9, 0.4, np.inf), "Kitchen gains 90 % NDCG@10 from joint training, 95 % interval from 40 % up."),
        ((0.9, -0.4, np.inf), "Kitchen shows no clear change: NDCG@10 +90 %, 95 % interval from -40 % up."),
        ((0.0, 0.0, 0.0), "Kitchen stays as it is: both answers are equally good."),
    ],
)
def test_sentences(found, sentence):
    assert verdict_sentence("Kitchen", difference(*found)) == sentence


def test_a_baseline_of_nothing_has_no_percentage():
    endless = Difference(9, 0.5, 0.0, Interval(0.5, 0.2, 0.8), Interval(np.inf, np.inf, np.inf), 0.001)
    assert verdict_sentence("Maps", endless, "mrr") == "Maps gains: MRR is 0.5000 where it was 0."


def test_another_model_is_named_instead_of_joint_training():
    sentence = verdict_sentence("Food", difference(0.2, 0.1, 0.3), "mrr", "gru4rec")
    assert sentence == "Food gains 20 % MRR over gru4rec, 95 % interval 10 to 30 %."


def test_per_cent_is_whole_from_ten_on():
    assert [per_cent(x, signed=True) for x in (0.0994, 0.0996, -1.5, 12.0)] == ["+9.9 %", "+10 %", "-150 %", "+1,200 %"]


def test_the_fused_answer_loses_nowhere_where_the_cross_answer_does():
    outcomes = [v.difference.verdict for v in own_verdicts([JOINT], "fused").domains]
    assert outcomes == ["gains", "neutral"]
    assert [v.difference.verdict for v in own_verdicts([JOINT], "cross").domains] == ["gains", "loses"]


def test_lines_for_the_terminal():
    first, *rest = verdict_lines(JOINT)
    assert first == "verdict (test split): 1 of 2 domains gains, none is seen to lose, 1 shows no clear change."
    assert rest[1] == "  = Maps stays as it is: both answers are equally good."
    assert rest[0].startswith("  + Food gains 132 % NDCG@10 from joint training")


def test_nothing_clear_is_said_to_be_so():
    assert own_verdicts([result_of(cross=BAD, single=BAD)], "cross").content()["summary"] == (
        "No clear change in any of 2 domains."
    )


def test_validation_is_said_to_be_too_kind():
    result = result_of(split="validation", cross=GOOD, single=BAD)
    assert next(verdict_lines(result)).startswith("verdict (validation split, which also chose the epoch and")


def test_one_answer_has_no_verdict():
    assert list(verdict_lines(result_of(cross=GOOD))) == []


class TestGroups:
    def test_the_model_trained_on_each_domain_alone_comes_first(self):
        twin = result_of("sasrec-single", single=by_domain(BAD, GOOD))
        found, _ = verdicts_of_groups([JOINT, result_of("sasrec", cross=BAD), twin], ["a", "b", "c"])
        assert [v.baseline for v in found] == ["sasrec-single", *["the model's own single-domain answer"] * 2, "sasrec"]
        assert [v.difference.verdict for v in found[0].domains] == ["gains", "loses"]
        assert "by joint training" in found[0].domains[1].sentence
        assert "over sasrec" in found[3].domains[0].sentence

    def test_seeds_of_one_model_are_one_verdict(self):
        seeds = [result_of(seed=n, cross=GOOD, single=BAD, fused=GOOD) for n in (0, 1)]
        found, groups = verdicts_of_groups(seeds, ["a", "b"])
        assert [v.candidate for v in found] == ["fused answer", "cross answer"]
        assert [len(results) for results in groups.results.values()] == [2]

    def test_a_single_domain_model_alone_has_none(self):
        assert verdicts_of_groups([result_of("sasrec-single", single=GOOD)], ["a"])[0] == []

    def test_a_run_that_is_given_twice_is_refused(self):
        twice = [JOINT, JOINT, result_of("sasrec", cross=GOOD)]
        with pytest.raises(ArtifactError, match="holds seed 0 twice"):
            verdicts_of_groups(twice, ["a", "b", "c"])

    def test_content_holds_plain_numbers(self):
        content = own_verdicts([JOINT], "fused").content()
        assert content["domains"][0]["candidate"] == 1.0
        assert content["domains"][0]["baseline"] == pytest.approx(1 / np.log2(5))
        assert content["domains"][0]["relative"]["estimate"] == pytest.approx(np.log2(5) - 1)
