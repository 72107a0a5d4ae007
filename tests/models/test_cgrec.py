"""What CGRec asks beyond the contract: the contrast of answers with the sequence of domains."""

import math

import pytest
import torch
import torch.nn.functional as F

from builders import (
    catalogue_of,
    in_given_order,
    objective_for,
    random_histories,
    shake,
    small_config,
    small_model,
    training_batch,
)

CATALOGUE = catalogue_of(5, 3, 7)
HISTORIES = [[0, 6, 1, 12, 8, 2, 5], [9, 7, 4], [3, 14, 13, 6]]
T = 6


def build(**model):
    model = small_model(CATALOGUE, name="cgrec", **{"item_similarity": False, **model})
    shake(model)
    return model


def coarse(model, histories):
    """The coarse representation at every target, in the order of the events."""
    packed, batch = training_batch(CATALOGUE, histories, T)
    return in_given_order(packed, model._represent_coarse(batch, batch.cross_slots))


def test_the_answer_is_that_of_a_plain_transformer():
    model, plain = build().eval(), small_model(CATALOGUE, name="sasrec", item_similarity=False).eval()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if key in plain.state_dict()})
    _, batch = training_batch(CATALOGUE, HISTORIES, T)
    assert torch.equal(model.encode(batch)["cross"], plain.encode(batch)["cross"])


def test_the_coarse_level_knows_domains_and_no_items():
    model = build().eval()
    history = [0, 6, 1, 12, 8, 2, 5]  # domains 0 1 0 2 2 0 1
    before = coarse(model, [history])
    assert torch.equal(coarse(model, [[4, 5, 3, 9, 14, 0, 7]]), before)
    moved = coarse(model, [[0, 6, 1, 12, 0, 2, 5]])
    torch.testing.assert_close(moved[:5], before[:5])
    assert not torch.allclose(moved[5], before[5], atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_contrast_equals_the_loop(seed):
    """With one target for each user and domain there is nothing to draw."""
    model = build().eval().requires_grad_(False)
    histories = [[0, 6, 12], [7, 3], [13, 1, 5], [4]]
    packed, batch = training_batch(CATALOGUE, histories, T)
    generator = torch.Generator().manual_seed(seed)
    answers, own_losses = model.encode_to_train(batch, generator)
    fine = F.normalize(model.head(in_given_order(packed, answers["cross"])), dim=-1)
    level = F.normalize(coarse(model, histories), dim=-1)
    domains = in_given_order(packed, batch.domains).tolist()
    expected = 0.0
    for domain in range(3):
        rows = [i for i, d in enumerate(domains) if d == domain]
        losses = []
        for i in rows:
            scores = [float(fine[i] @ level[j]) / 0.2 for j in rows]
            losses.append(math.log(sum(map(math.exp, scores))) - float(fine[i] @ level[i]) / 0.2)
        expected += sum(losses) / len(losses)
    assert float(own_losses["contrast"]) == pytest.approx(expected, abs=1e-4)


def test_the_encoders_of_both_levels_learn_from_the_contrast():
    model = build()
    _, batch = training_batch(CATALOGUE, HISTORIES, T)
    model.encode_to_train(batch, torch.Generator().manual_seed(0)).own_losses["contrast"].backward()
    for part in (model.encoder, model.coarse_encoder, model.head, model.coarse_domains, model.embedding.items):
        assert all(p.grad.abs().sum() > 0 for p in part.parameters() if p.dim() > 1)


@pytest.mark.parametrize("sizes", [(5, 7), (3, 1, 4, 2, 6)], ids=["D=2", "D=5"])
def test_a_step_with_domains_that_are_absent_is_finite(sizes):
    catalogue = catalogue_of(*sizes)
    model, objective = (
        small_model(catalogue, name="cgrec"),
        objective_for(small_config(model={"name": "cgrec"}), catalogue),
    )
    for present in range(1, len(sizes) + 1):
        _, batch = training_batch(catalogue, random_histories(catalogue_of(*sizes[:present]), [7, 1, 5]), T)
        report = objective(model, batch, torch.Generator().manual_seed(present))
        report.total.backward()
        assert torch.isfinite(report.total)
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        assert (report.domain_losses["cross"][present:] == 0).all()
