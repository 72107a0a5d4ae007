import numpy as np
import pytest

from syncrec.errors import ArtifactError, UnknownNameError
from syncrec.evaluation import AnswerRanks, EvaluationResult, Provenance
from syncrec.evaluation.groups import NamedResult, choose_answer, group_results


def result_of(model="syncrec", seed=0, answers=("cross", "single", "fused"), dim=8, config=None):
    settings = {"model": {"dim": dim}, "training": {"seed": seed, "epochs": 3}} if config is None else config
    return EvaluationResult(
        provenance=Provenance(model, seed, settings),
        protocol="full",
        split="test",
        negatives_seed=0,
        dataset_checksum="abc",
        domains=("Food",),
        users=("ann",),
        query_domains=np.array([0]),
        answers={name: AnswerRanks(np.array([1.0])) for name in answers},
    )


def grouped(*entries, answer=None):
    named = [NamedResult(result, f"{n}.json", *rest) for n, (result, *rest) in enumerate(entries)]
    return group_results(named, answer)


def files(groups):
    return {label: list(names) for label, names in groups.names.items()}


def test_the_fused_answer_stands_for_a_model_else_its_first():
    assert choose_answer(result_of()) == "fused"
    assert choose_answer(result_of(answers=("cross", "single"))) == "cross"
    assert choose_answer(result_of(), "single") == "single"


def test_a_model_with_one_answer_gives_that_one_whatever_is_wanted():
    assert choose_answer(result_of(answers=("popularity",)), "single") == "popularity"
    with pytest.raises(
        UnknownNameError, match="unknown answer 'fusd'; nearest: 'fused'; the answers of syncrec are cr"
    ):
        choose_answer(result_of(), "fusd")


def test_results_that_differ_in_the_training_seed_alone_are_one_group():
    groups = grouped((result_of(seed=0),), (result_of("sasrec", answers=("cross",)),), (result_of(seed=1),))
    assert files(groups) == {"syncrec": ["0.json", "2.json"], "sasrec": ["1.json"]}
    assert groups.answers == {"syncrec": "fused", "sasrec": "cross"}
    assert [r.provenance.seed for r in groups.results["syncrec"]] == [0, 1]


def test_other_settings_make_another_group_with_a_number():
    groups = grouped((result_of(),), (result_of(dim=16),), (result_of(seed=1),), (result_of(dim=32),))
    assert files(groups) == {"syncrec": ["0.json", "2.json"], "syncrec 2": ["1.json"], "syncrec 3": ["3.json"]}


def test_two_answers_of_one_model_are_two_groups_called_after_them():
    groups = grouped((result_of(), None, "cross"), (result_of(), None, "single"))
    assert groups.answers == {"syncrec cross": "cross", "syncrec single": "single"}


def test_a_label_joins_whatever_settings_and_no_other_group_takes_it():
    entries = [(result_of(), "syncrec"), (result_of(seed=1, dim=16), "syncrec"), (result_of(seed=2),)]
    assert files(grouped(*entries)) == {"syncrec": ["0.json", "1.json"], "syncrec 2": ["2.json"]}


def test_settings_that_are_no_sections_count_whole():
    one, two = (result_of("item-knn", config={"num_neighbours": n}) for n in (10, 20))
    assert list(files(grouped((one,), (two,), (result_of("popularity", config={}),)))) == [
        "item-knn",
        "item-knn 2",
        "popularity",
    ]


def test_the_wanted_answer_is_for_those_that_name_none():
    groups = grouped((result_of(), "a"), (result_of(), "b", "fused"), answer="single")
    assert groups.answers == {"a": "single", "b": "fused"}


def test_an_answer_that_is_asked_of_one_file_must_be_there():
    with pytest.raises(UnknownNameError, match="unknown answer 'cross'; the answers of popularity are scores"):
        grouped((result_of("popularity", answers=("scores",)), None, "cross"))


def test_a_label_of_two_answers_is_refused():
    with pytest.raises(ArtifactError, match=r"group 'a' is of two answers, 'cross' \(0.json\) and 'fused' \(1.json\)"):
        grouped((result_of(), "a", "cross"), (result_of(seed=1), "a"))
