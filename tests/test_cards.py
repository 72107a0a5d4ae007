"""A card is there when training has ended, and knows every evaluation after that."""

import json
import subprocess
import sys

import pytest

import syncrec
from jobs import TINY


@pytest.fixture(scope="module")
def run(tiny_dataset_path, tmp_path_factory):
    return syncrec.train(
        tiny_dataset_path,
        tmp_path_factory.mktemp("card") / "run",
        settings=[*TINY, "training.epochs=1"],
        show_progress=False,
    )


def card_of(run):
    return json.loads((run.path / "card.json").read_text())


def files_of(run):
    return [entry["file"] for entry in card_of(run)["results"]]


def test_training_leaves_a_card_and_evaluations_are_added_once_each(run):
    card = card_of(run)
    assert (card["run"], card["training"]["epochs"], card["data"]["checksum"]) == ("run", 1, run.dataset.checksum)
    assert card["fusion_weights"] == dict(zip(run.dataset.domains, run.trained.fusion_weights, strict=True))
    assert files_of(run) == [None]
    run.evaluate()
    run.evaluate("validation")
    run.evaluate()
    assert files_of(run) == [None, "test-full.json", "validation-full.json"]
    assert "`results/test-full.json`" in (run.path / "card.md").read_text()


def test_the_numbers_are_those_of_the_result(run):
    result = run.evaluate()
    (entry,) = [entry for entry in card_of(run)["results"] if entry["file"] == "test-full.json"]
    assert entry["answers"]["fused"]["domains"] == result.summary("fused").domains
    assert entry["num_queries"] == result.num_queries


def test_a_run_without_a_card_gets_none_by_evaluation(run):
    (run.path / "card.json").unlink()
    (run.path / "card.md").unlink()
    run.evaluate()
    assert not (run.path / "card.json").exists()


def test_training_and_its_card_load_no_polars():
    code = "import sys, syncrec.pipeline, syncrec.cards; print('polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
