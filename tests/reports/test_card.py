"""The model card: what is on it, and how it reads."""

import json

import numpy as np
import pytest

from prepared import CLEAN, DAY_S, arrays_of, write
from syncrec.config import load_config
from syncrec.data.facts import dataset_facts
from syncrec.evaluation import AnswerRanks, EvaluationResult, Provenance
from syncrec.reports.card import CardSubject, make_card, results_on_card, write_card
from syncrec.reports.card_text import card_markdown

TIMES = [[0, DAY_S, DAY_S, 2 * DAY_S, 2 * DAY_S], [0, 1, 2, 3, 4], [0, 1, 2, 3], [0, 1]]


def means(value):
    metrics = {"hr@10": value, "ndcg@10": value, "mrr": value}
    return {"domains": {"A": metrics, "B": metrics}, "macro": metrics}


def record(epoch, **more):
    return {"epoch": epoch, "seconds": 60.04, **more}


FIRST = [record(e, validation={"cross": means(0.1 + e / 10), "fused": means(0.15 + e / 10)}) for e in range(3)]
RESULT = EvaluationResult(
    provenance=Provenance("syncrec"),
    protocol="full",
    split="test",
    negatives_seed=0,
    dataset_checksum="abc",
    domains=("A", "B"),
    users=("u", "v", "w"),
    query_domains=np.array([0, 0, 1]),
    answers={"cross": AnswerRanks(np.array([1.0, 2.0, 20.0])), "fused": AnswerRanks(np.array([1.0, 1.0, 4.0]))},
)

FUSION = {"A": 0.3, "B": 1.0}


@pytest.fixture
def facts(tmp_path):
    return dataset_facts(write(tmp_path / "dataset", arrays_of(CLEAN, TIMES)))


def subject(logs=(FIRST,), fusion=FUSION, communities=(("A", "B"),), **training):
    config = load_config(extra={"training": {"epochs": 5, **training}})
    return CardSubject("my-run", "a model", "a paper", config, {"torch": "2.0"}, 2, fusion, logs, communities)


class TestContent:
    def test_training_says_epochs_time_and_choice(self, facts):
        card = make_card(subject(), facts, {})
        assert card["training"] == {
            "epochs": 3,
            "max_epochs": 5,
            "best_epoch": 2,
            "chosen_by": "mrr of the fused answer on validation",
            "seconds": 180.1,
            "refit": None,
            "seed": 0,
        }
        assert card["changed_settings"] == {"training.epochs": 5}

    def test_a_second_fit_is_told_with_what_it_means_for_validation(self, facts):
        card = make_card(subject(logs=(FIRST, [record(0), record(1)]), refit="validation"), facts, {})
        assert card["training"]["refit"] == {"epochs": 2, "seconds": 120.1}
        assert any(line.startswith("Validation results are of the first fit") for line in card["limits"])

    def test_validation_is_that_of_the_best_epoch(self, facts):
        (entry,) = make_card(subject(), facts, {})["results"]
        assert (entry["split"], entry["file"], entry["answers"]) == ("validation", None, FIRST[1]["validation"])
        assert entry["num_queries"] == {"A": 3, "B": 0}

    def test_evaluations_follow_with_the_means_of_their_ranks(self, facts):
        entry = make_card(subject(), facts, {"test-full.json": RESULT})["results"][1]
        assert (entry["file"], entry["split"], entry["num_queries"]) == ("test-full.json", "test", {"A": 2, "B": 1})
        assert entry["answers"]["cross"]["domains"]["A"]["mrr"] == (1 + 1 / 2) / 2
        assert entry["answers"]["fused"]["domains"]["B"]["mrr"] == 1 / 4

    def test_limits_name_the_shares_of_these_data(self, facts):
        limits = " ".join(make_card(subject(), facts, {})["limits"])
        assert "cannot find but by luck: A 0.0 %, B 0.0 %" in limits
        assert "fewer than 2" in limits
        assert "33.3 % of the test targets have the time" in limits  # of 3
        assert "25.0 % of the users use one domain only" in limits  # u03 of 4
        assert "leave-one-out" in limits

    def test_the_data_are_the_facts(self, facts):
        card = make_card(subject(), facts, {})
        assert card["data"] == facts.to_json()
        assert card["data"]["checksum"] == facts.checksum


class TestText:
    def test_sections_and_tables(self, facts):
        text = card_markdown(make_card(subject(), facts, {"test-full.json": RESULT}))
        headings = [line for line in text.splitlines() if line.startswith("#")]
        sections = ["Intended use", "Data", "Training", "Results", "Limits", "Versions"]
        assert headings == ["# Model card: my-run", *(f"## {name}" for name in sections)]
        assert "| A | 2 | cross | 1.0000 | 0.8155 | 0.7500 |" in text  # (1 + 1 / log2(3)) / 2
        assert "| A | 3 | fused | 0.2500 | 0.2500 | 0.2500 |" in text
        assert "- 3 epochs of at most 5, 3 min; epoch 2 has the best mrr of the fused answer on validation\n" in text
        assert "chosen on validation: A 0.3, B 1\n" in text
        assert f"`{facts.checksum}`" in text

    def test_a_model_with_one_answer_has_no_fusion_weights(self, facts):
        text = card_markdown(make_card(subject(fusion=None), facts, {}))
        assert "weight of the single answer" not in text

    def test_it_says_which_domains_read_each_other(self, facts):
        assert "every domain reads the events of all domains" in card_markdown(make_card(subject(), facts, {}))
        apart = make_card(subject(communities=(("A", "C"), ("B",))), facts, {})
        assert "domains that read each other: A + C; B alone" in card_markdown(apart)

    def test_a_domain_without_queries_has_dashes(self, facts):
        log = [[record(1, validation={"cross": {"domains": {"A": {"mrr": 0.5}}, "macro": {"mrr": 0.5}}})]]
        assert "| A | 3 | cross | - | - | 0.5000 |" in card_markdown(make_card(subject(logs=log), facts, {}))


class TestFiles:
    def test_both_are_written_and_the_result_files_are_read_back(self, facts, tmp_path):
        assert results_on_card(tmp_path) is None
        card = make_card(subject(), facts, {"test-full.json": RESULT})
        write_card(tmp_path, card)
        assert json.loads((tmp_path / "card.json").read_text())["data"]["events"] == 16
        assert (tmp_path / "card.md").read_text() == card_markdown(card)
        assert results_on_card(tmp_path) == ["test-full.json"]
