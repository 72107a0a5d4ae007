"""Frozen models against the models themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import catalogue_of, in_given_order, random_histories, shake, small_model, times_of
from syncrec.data.packing import history_batch
from syncrec.models.registry import MODELS
from syncrec.models.scoring import encode_packed

CATALOGUE = catalogue_of(7, 1, 9)
T = 6
ONE_LAYER = {"num_layers": 1, "item_similarity": False}
FROZEN = ["sasrec", "syncrec"]


def check_answers(model, histories, domains):
    """The frozen model's query vectors are the model's own."""
    times = [times_of(history) for history in histories]
    items = [np.asarray(history, dtype=np.int64) for history in histories]
    packed = history_batch(model.packer(), items, np.asarray(domains), [np.asarray(t, dtype=np.int64) for t in times])
    wanted = {name: in_given_order(packed, found) for name, found in encode_packed(model, packed).items()}
    asked = [
        (np.asarray(h, dtype=np.int64), np.asarray(t, dtype=np.int64)) for h, t in zip(histories, times, strict=True)
    ]
    found = model.frozen().encode(asked, np.asarray(domains, dtype=np.int64))
    assert list(found) == list(wanted)
    for name, vectors in wanted.items():
        torch.testing.assert_close(torch.from_numpy(found[name]), vectors, atol=1e-4, rtol=1e-4)


def frozen_model(name, catalogue=CATALOGUE, **settings):
    model = small_model(catalogue, name=name, **{**ONE_LAYER, **settings}).eval()
    shake(model)
    return model


@pytest.mark.parametrize("name", FROZEN)
@pytest.mark.parametrize("score", ["dot", "cosine"])
@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("positions", ["start", "end", "both"])
def test_it_answers_as_the_model_does(name, score, time, positions):
    model = frozen_model(name, score=score, time=time, positions=positions)
    check_answers(model, random_histories(CATALOGUE, [0, 1, 6, 4, 9, 30]), [0, 2, 1, 1, 0, 2])
    for length in (0, 1, 6, 9):
        check_answers(model, random_histories(CATALOGUE, [length], seed=length), [2])


@pytest.mark.parametrize("name", FROZEN)
def test_it_skips_the_items_that_the_model_skips(name):
    model = frozen_model(name, item_similarity=True)
    model.is_known[[0, 1, 2, 9, 11]] = False
    histories = random_histories(CATALOGUE, [0, 1, 6, 4, 9, 30])
    packed = history_batch(
        model.packer(), [np.asarray(h, dtype=np.int64) for h in histories], np.array([0, 2, 1, 1, 0, 2])
    )
    assert len(packed.cross.tokens.ravel()) and not np.isin(packed.cross.tokens, [1, 2, 9, 11]).any()
    check_answers(model, histories, [0, 2, 1, 1, 0, 2])


@pytest.mark.parametrize("name", FROZEN)
@pytest.mark.parametrize("similarity", [False, True])
@pytest.mark.parametrize("positions", ["start", "end", "both"])
def test_it_reads_what_the_model_reads_of_communities(name, similarity, positions):
    catalogue = replace(catalogue_of(7, 6, 9), communities=(0, 1, 0))
    apart = frozen_model(name, catalogue, item_similarity=similarity, positions=positions)
    if name == "syncrec":
        apart.lone["1"].positions.end_at(3)
    histories = random_histories(catalogue, [0, 1, 6, 4, 9, 30])
    assert max(sum(7 <= item < 13 for item in history) for history in histories) > 2
    check_answers(apart, histories, [0, 2, 1, 1, 0, 2])
    check_answers(apart, histories, [1] * 6)


@pytest.mark.parametrize("mixing", ["asymmetric", "no-stop-gradient", "no-separation", "own-only"])
def test_it_mixes_experts_as_the_model_does(mixing):
    check_answers(frozen_model("syncrec", mixing=mixing), random_histories(CATALOGUE, [0, 5, 3]), [0, 2, 1])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_model_says_whether_it_can_be_frozen(name):
    assert (frozen_model(name).frozen() is not None) == (name in FROZEN)


@pytest.mark.parametrize("name", FROZEN)
@pytest.mark.parametrize("score", ["dot", "cosine"])
def test_it_adds_the_similarity_that_the_model_adds(name, score):
    model = frozen_model(name, score=score, item_similarity=True)
    with torch.no_grad():  # of each task another weight and decay
        model.similarity.weight.add_(torch.rand_like(model.similarity.weight))
        model.similarity.shift.add_(torch.rand_like(model.similarity.shift))
    check_answers(model, random_histories(CATALOGUE, [0, 1, 6, 4, 9, 30]), [0, 2, 1, 1, 0, 2])


@pytest.mark.parametrize("name", FROZEN)
def test_several_layers_are_left_to_the_model(name):
    assert frozen_model(name, num_layers=2).frozen() is None
