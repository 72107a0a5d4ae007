"""The validation of an epoch against ranks counted by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from builders import shake, small_config, small_model
from syncrec.config import TrainingConfig
from syncrec.data.catalogue import Catalogue
from syncrec.errors import ConfigError
from syncrec.evaluation import ranking
from syncrec.fitting import TrainingSession
from syncrec.models.scoring import answer_vectors
from syncrec.training.tracking import read_log
from syncrec.validation import COARSE_GRID, validate, validation_gaps


@pytest.fixture(scope="module")
def model(tiny_dataset):
    model = small_model(Catalogue.of(tiny_dataset))
    shake(model)
    return model


def macro_mrr(dataset, queries, vectors_of_query, items):
    """Mean over domains of the mean reciprocal rank."""
    reciprocal = [[] for _ in range(dataset.num_domains)]
    for n, (target, domain) in enumerate(zip(queries.targets, queries.domains, strict=True)):
        start, stop = dataset.item_range(domain)
        scores = items[start:stop] @ vectors_of_query[n]
        own = scores[target - start]
        rank = 1 + int((scores > own).sum())
        reciprocal[domain].append(1 / rank)
    return float(np.mean([np.mean(r) for r in reciprocal]))


@pytest.mark.parametrize("block_bytes", [1, 300, 2**27])
@pytest.mark.parametrize("answer", ["cross", "single"])
def test_the_value_is_the_macro_mrr_of_the_answer_asked(model, tiny_dataset, answer, block_bytes, monkeypatch):
    monkeypatch.setattr(ranking, "SCORE_BLOCK_BYTES", block_bytes)
    queries = tiny_dataset.queries("validation")
    found = validate(model, tiny_dataset, queries, TrainingConfig(monitor_answer=answer))
    vectors = answer_vectors(model, tiny_dataset, queries)
    expected = macro_mrr(tiny_dataset, queries, vectors.queries[answer].numpy(), vectors.items.numpy())
    assert found.value == pytest.approx(expected, abs=1e-6)
    assert found.report[answer]["macro"]["mrr"] == found.value


def test_the_fused_answer_is_in_every_domain_at_least_as_good_as_both(model, tiny_dataset):
    found = validate(model, tiny_dataset, tiny_dataset.queries("validation"), TrainingConfig())
    fused = found.report["fused"]["domains"]
    for answer in ("cross", "single"):
        for domain, metrics in found.report[answer]["domains"].items():
            assert fused[domain]["mrr"] >= metrics["mrr"] - 1e-9
    assert set(found.extra["fusion_weights"]) == set(tiny_dataset.domains)
    assert set(found.extra["fusion_weights"].values()) <= set(COARSE_GRID)


def test_a_lone_domain_keeps_the_cross_answer_as_both_are_one(tiny_dataset, monkeypatch):
    monkeypatch.setattr("syncrec.validation.choose_fusion_weights", lambda *_: np.ones(3))
    model = small_model(Catalogue.of(tiny_dataset, communities=[0, 0, 1]))
    found = validate(model, tiny_dataset, tiny_dataset.queries("validation"), TrainingConfig())
    assert list(found.extra["fusion_weights"].values()) == [1, 1, 0]
    fused, cross = (found.report[answer]["domains"]["Tools"] for answer in ("fused", "cross"))
    assert fused == cross


def test_a_model_of_one_answer_has_no_fusion(tiny_dataset):
    model = small_model(Catalogue.of(tiny_dataset), name="sasrec")
    found = validate(model, tiny_dataset, tiny_dataset.queries("validation"), TrainingConfig())
    assert set(found.report) == {"cross"}
    assert found.extra == {}
    assert found.value == found.report["cross"]["macro"]["mrr"]


def test_the_gap_is_the_mean_single_loss_minus_the_mean_cross_loss_of_held_out_targets(model, tiny_dataset):
    queries = tiny_dataset.queries("validation")
    vectors = answer_vectors(model, tiny_dataset, queries)
    losses = {"cross": [[] for _ in range(3)], "single": [[] for _ in range(3)]}
    for n, (target, domain) in enumerate(zip(queries.targets, queries.domains, strict=True)):
        start, stop = tiny_dataset.item_range(domain)
        for answer, found in losses.items():
            scores = (vectors.items[start:stop] @ vectors.queries[answer][n]).tolist()
            found[domain].append(math.log(sum(map(math.exp, scores))) - scores[target - start])
    expected = [np.mean(s) - np.mean(c) for s, c in zip(losses["single"], losses["cross"], strict=True)]
    assert validation_gaps(vectors, queries, model.catalogue.offsets) == pytest.approx(expected, abs=1e-4)


def test_a_model_of_one_answer_has_no_gap_which_is_said_before_anything_is_trained(tiny_dataset, tmp_path):
    config = small_config(model={"name": "sasrec"}, transfer={"gap": "validation"})
    with pytest.raises(ConfigError, match="two answers"):
        TrainingSession(tiny_dataset, config, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_relative_gap_is_that_of_the_last_validation(tiny_dataset, tmp_path):
    training = {"epochs": 2, "batch_size": 10, "threads": 1}
    config = small_config(transfer={"gap": "validation"}, training=training)
    session = TrainingSession(tiny_dataset, config, tmp_path)
    assert session.run([], show_progress=False)
    first, last = read_log(tmp_path / "log.jsonl")
    assert set(first["weight"].values()) == {1.0}, "before the first validation there is nothing to go by"
    measured = [first["validation_gap"][domain] for domain in tiny_dataset.domains]
    weights = [math.exp(min(gap, 0)) for gap in measured]
    assert min(weights) < 1
    assert [last["weight"][domain] for domain in tiny_dataset.domains] == pytest.approx(weights, abs=1e-4)
    assert last["relative_gap"] == pytest.approx(first["validation_gap"], abs=1e-6)
    assert session.fit.trainer.objective.correction.relative_gap.tolist() == pytest.approx(
        [last["validation_gap"][domain] for domain in tiny_dataset.domains], abs=1e-6
    )


def test_a_domain_without_held_out_targets_is_told_as_none(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("syncrec.validation.validation_gaps", lambda *_: [0.5, math.nan, -0.5])
    config = small_config(transfer={"gap": "validation"}, training={"epochs": 2, "batch_size": 10, "threads": 1})
    session = TrainingSession(tiny_dataset, config, tmp_path)
    assert session.run([], show_progress=False)
    assert list(read_log(tmp_path / "log.jsonl")[-1]["validation_gap"].values()) == [0.5, None, -0.5]
    assert session.fit.trainer.objective.correction.relative_gap.tolist() == [0.5, 0.0, -0.5]


def test_a_second_fit_is_weighed_by_the_gap_of_the_chosen_epoch(tiny_dataset, tmp_path, monkeypatch):
    told = iter([(1.0, [-0.5, math.nan, 0.5]), (0.0, [-3.0, -3.0, -3.0])])

    def worse_every_epoch(*args, measure_gap=False, **others):
        found = validate(*args, **others)
        if not measure_gap:
            return found
        value, gaps = next(told)
        return replace(found, value=value, gaps=gaps)

    monkeypatch.setattr("syncrec.fitting.validate", worse_every_epoch)
    training = {"epochs": 2, "batch_size": 10, "threads": 1, "refit": "validation"}
    session = TrainingSession(tiny_dataset, small_config(transfer={"gap": "validation"}, training=training), tmp_path)
    assert session.run([], show_progress=False)
    (again,) = read_log(tmp_path / "refit" / "log.jsonl")
    assert list(again["relative_gap"].values()) == [-0.5, 0.0, 0.5]
    assert list(again["weight"].values()) == pytest.approx([math.exp(-0.5), 1, 1])
