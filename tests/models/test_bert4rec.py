"""BERT4Rec against an unpacked version, a segment at a time, and what it is asked in training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from builders import (
    catalogue_of,
    in_given_order,
    objective_for,
    query_batch,
    random_histories,
    shake,
    small_config,
    small_model,
    times_of,
    training_batch,
)
from syncrec.models import bert4rec
from syncrec.models.bert4rec import LAST_ONLY_SHARE, MASKED_SHARE

CATALOGUE = catalogue_of(5, 3, 7)
MASK = CATALOGUE.num_items
HISTORIES = [[0, 6, 1, 12, 8, 2, 5], [9, 7, 4], [3, 14, 13, 6], [2]]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def build(**model):
    model = small_model(CATALOGUE, name="bert4rec", **{"item_similarity": False, **model})
    shake(model)
    return model


def posed(model, histories, seed=0):
    batch = training_batch(CATALOGUE, histories, 6)[1]
    return model.training_questions(batch, torch.Generator().manual_seed(seed))


def domain_of(item):
    return int(np.searchsorted(CATALOGUE.offsets, item, side="right")) - 1


def expected(model, history, masked, domain):
    """Answers [n, dim] at the events `masked` (places in `history`, ascending), and at a question in `domain`, last.

    One row, no padding: the events, then the question; every slot reads every other.
    """
    table, times = model.embedding, times_of(history)
    vectors = []
    for place, (event, time) in enumerate(zip(history, times, strict=True)):
        is_masked = place in masked
        period = 0 if is_masked else 1 + sum(int(edge) <= time for edge in table.time.edges)
        gap = 0
        if place and not {place, place - 1} & set(masked):
            gap = min(1 + int(np.ceil(np.log2(1 + (time - times[place - 1]) / 60))), 24)
        vectors.append(
            table.items.weight[MASK if is_masked else event]
            + table.domains.weight[domain_of(event)]
            + table.positions.from_end.weight[len(history) - place]
            + table.time.periods.weight[period]
            + table.time.gaps.weight[gap]
        )
    question = table.items.weight[MASK] + table.domains.weight[domain] + table.positions.from_end.weight[0]
    vectors.append(question + table.time.periods.weight[0] + table.time.gaps.weight[0])
    rows = table.norm(torch.stack(vectors))[None]
    encoded = model.encoder(rows, torch.zeros(1, 1, len(vectors), len(vectors)))[0, [*masked, len(history)]]
    return model.norm(F.gelu(model.projection(encoded)))


@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_question_reads_the_whole_history_from_its_end(num_layers):
    model = build(num_layers=num_layers).eval()
    histories, domains = [[0, 6, 1, 12, 8, 2], [], [9], [3, 14, 13]], [2, 0, 1, 1]
    packed, batch = query_batch(CATALOGUE, histories, domains, 6)
    found = in_given_order(packed, model.encode(batch)["cross"])
    rows = [expected(model, history, [], domain) for history, domain in zip(histories, domains, strict=True)]
    torch.testing.assert_close(found, torch.cat(rows), **CLOSE)


@pytest.mark.parametrize("seed", range(4))
def test_in_training_the_masked_events_are_answered_by_all_the_others(seed):
    model = build().eval()
    batch = posed(model, HISTORIES, seed)
    found = model.encode(batch)["cross"]
    for user, history in enumerate(HISTORIES):
        mine = (batch.users == user).nonzero().flatten().tolist()
        by_place = {history.index(int(batch.targets[row])): row for row in mine}
        masked = sorted(by_place)
        assert masked[-1] == len(history) - 1
        rows = expected(model, history[:-1], masked[:-1], domain_of(history[-1]))
        torch.testing.assert_close(found[[by_place[place] for place in masked]], rows, **CLOSE)


def test_with_the_last_event_masked_alone_training_asks_what_is_asked_afterwards(monkeypatch):
    monkeypatch.setattr(bert4rec, "MASKED_SHARE", 0.0)
    model = build().eval()
    batch = posed(model, HISTORIES)
    assert sorted(batch.targets.tolist()) == sorted(history[-1] for history in HISTORIES)
    found = model.encode(batch)["cross"][batch.users.argsort()]
    packed, asked = query_batch(CATALOGUE, [h[:-1] for h in HISTORIES], [domain_of(h[-1]) for h in HISTORIES], 6)
    torch.testing.assert_close(found, in_given_order(packed, model.encode(asked)["cross"]), **CLOSE)


def test_a_masked_event_is_answered_by_later_events_too():
    model = build().eval()
    history = HISTORIES[0]
    batch = next(b for seed in range(50) if history[2] in (b := posed(model, [history], seed)).targets)
    row = model.encode(batch)["cross"][batch.targets.tolist().index(history[2])]
    (gradient,) = torch.autograd.grad(row.square().sum(), model.embedding.items.weight)
    visible = set(history) - set(batch.targets.tolist())
    assert visible & set(history[3:])
    assert set(gradient.abs().sum(1).nonzero().flatten().tolist()) == visible | {MASK}


def test_every_last_event_and_the_stated_share_of_the_others_are_asked():
    histories = random_histories(CATALOGUE, [5] * 4000)
    batch = training_batch(CATALOGUE, histories, 6)[1]
    found = build().training_questions(batch, torch.Generator().manual_seed(0))
    counts = torch.bincount(found.users, minlength=len(histories))
    assert int(counts.min()) == 1
    assert float(counts.float().mean()) - 1 == pytest.approx(4 * MASKED_SHARE * (1 - LAST_ONLY_SHARE), abs=0.03)
    alone = LAST_ONLY_SHARE + (1 - LAST_ONLY_SHARE) * (1 - MASKED_SHARE) ** 4
    assert float((counts == 1).float().mean()) == pytest.approx(alone, abs=0.02)


def test_what_is_masked_depends_on_the_generator_alone():
    model = build()
    first, again, other = (posed(model, HISTORIES, seed).cross.tokens for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_masks_lie_where_something_is_asked_and_nowhere_else():
    batch = posed(build(), HISTORIES)
    used = (batch.cross.segments >= 0).flatten()
    masks = ((batch.cross.tokens.flatten() == MASK) & used).nonzero().flatten()
    assert torch.equal(masks, batch.cross_slots.sort().values)


def test_the_domain_asked_for_changes_the_answer():
    model = build().eval()
    _, batch = query_batch(CATALOGUE, [[0, 6, 1]] * 3, [0, 1, 2], 6)
    first, second, third = model.encode(batch)["cross"]
    assert not torch.allclose(first, second)
    assert not torch.allclose(second, third)


def test_the_objective_asks_the_masked_events_alone():
    model, batch = build(), training_batch(CATALOGUE, HISTORIES, 6)[1]
    objective = objective_for(small_config(model={"name": "bert4rec"}), CATALOGUE)
    report = objective(model, batch, torch.Generator().manual_seed(3))
    assert report.domain_counts.tolist() == posed(model, HISTORIES, 3).domain_counts.tolist()
    assert report.domain_counts.sum() < len(batch)


def test_without_times_in_the_settings_they_change_nothing():
    model, batch = build(time=False).eval(), query_batch(CATALOGUE, [[0, 6, 1]], [0], 6)[1]
    later = replace(batch, cross=replace(batch.cross, times=batch.cross.times + 10**8))
    assert torch.equal(model.encode(later)["cross"], model.encode(batch)["cross"])
    assert not torch.equal(build().encode(later)["cross"], build().encode(batch)["cross"])


def test_similarity_is_that_to_the_events_before_which_are_not_masked():
    model = build(item_similarity=True, score="cosine").eval()
    plain = build(score="cosine").eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("similarity.")})
    batch = posed(model, HISTORIES, seed=1)
    found = model.encode(batch)["cross"] - plain.encode(batch)["cross"]
    weight, rate = model.similarity.weight[0], F.softplus(model.similarity.shift[0]).item()
    vectors = model.answer_size * F.normalize(model.embedding.items.weight, dim=1)
    masked = {
        u: {t for v, t in zip(batch.users.tolist(), batch.targets.tolist(), strict=True) if v == u} for u in range(4)
    }
    for row, user, target in zip(found, batch.users.tolist(), batch.targets.tolist(), strict=True):
        history = HISTORIES[user]
        before = [(place, e) for place, e in enumerate(history[: history.index(target)]) if e not in masked[user]]
        decays = torch.softmax(torch.tensor([place * rate for place, _ in before]), 0) if before else torch.zeros(0)
        expected = weight * sum((d * vectors[e] for d, (_, e) in zip(decays, before, strict=True)), torch.zeros(8))
        torch.testing.assert_close(row, expected, **CLOSE)


def test_similarity_to_the_whole_history_is_that_of_a_causal_model():
    model, causal = build(item_similarity=True).eval(), build_causal(item_similarity=True).eval()
    causal.embedding.items.weight.data = model.embedding.items.weight.data
    causal.similarity.load_state_dict(model.similarity.state_dict())
    batch = query_batch(CATALOGUE, [[0, 6, 1, 12, 8, 2], [], [9], [3, 14, 13]], [2, 0, 1, 1], 6)[1]
    zeros = {"cross": torch.zeros(4, 8)}
    torch.testing.assert_close(model._with_similarity(batch, zeros), causal._with_similarity(batch, zeros), **CLOSE)


def build_causal(**model):
    return small_model(CATALOGUE, name="sasrec", **model)
