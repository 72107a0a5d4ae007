"""The validation of an epoch against ranks counted by hand."""

import numpy as np
import pytest

from builders import shake, small_model
from syncrec.config import TrainingConfig
from syncrec.data.packing import Catalogue
from syncrec.evaluation import ranking
from syncrec.models.scoring import answer_vectors
from syncrec.validation import COARSE_GRID, validate


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


def test_a_model_of_one_answer_has_no_fusion(tiny_dataset):
    model = small_model(Catalogue.of(tiny_dataset), name="sasrec")
    found = validate(model, tiny_dataset, tiny_dataset.queries("validation"), TrainingConfig())
    assert set(found.report) == {"cross"}
    assert found.extra == {}
    assert found.value == found.report["cross"]["macro"]["mrr"]
