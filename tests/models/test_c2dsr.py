"""What C2DSR asks beyond the contract: two sums, two graphs from training events, and the infomax objective."""

import math
from itertools import product

import numpy as np
import pytest
import torch

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
from syncrec.checkpoint import load_checkpoint, load_module, save_checkpoint
from syncrec.data.catalogue import Catalogue
from syncrec.data.transitions import preceding_items
from syncrec.models.c2dsr import Infomax
from syncrec.pipeline import train

CATALOGUE = catalogue_of(5, 1, 7)
HISTORIES = [[0, 5, 1, 12, 8, 2, 5], [9, 7, 4], [3, 12, 11, 6], [5, 5, 5]]
T = 6


def build(**model):
    model = small_model(CATALOGUE, name="c2dsr", **{"item_similarity": False, **model})
    shake(model)
    return model


def answers(model, histories):
    packed, batch = training_batch(CATALOGUE, histories, T)
    return in_given_order(packed, model.encode(batch)["cross"])


def domain_of(item):
    return int(np.searchsorted(CATALOGUE.offsets, item, side="right")) - 1


# The answer


def test_an_answer_is_the_sum_of_the_domains_own_and_the_hybrid_representation():
    model = build(time=False, positions="start").eval()
    history = [0, 6, 1, 12, 2, 7, 3]  # domains 0 2 0 2 0 2 0
    both = answers(model, [history])
    with torch.no_grad():
        model.cross_encoder.norm.weight.zero_(), model.cross_encoder.norm.bias.zero_()
    own = answers(model, [history])
    for place in range(7):
        in_domain = [e for e in history[: place + 1] if domain_of(e) == domain_of(history[place])]
        alone = answers(model, [in_domain])[-1]
        torch.testing.assert_close(own[place], alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(both, own, atol=1e-2)


@pytest.mark.parametrize(("domain", "moved"), [("0", {0}), ("2", {2})])
def test_the_encoder_of_a_domain_changes_its_answers_alone(domain, moved):
    model = build().eval()
    _, batch = training_batch(CATALOGUE, HISTORIES, T)
    before = model.encode(batch)["cross"]
    with torch.no_grad():
        model.domain_encoders[domain].norm.bias.add_(1.0)
    assert set(batch.domains[(model.encode(batch)["cross"] != before).any(1)].tolist()) == moved


def test_a_domain_of_one_item_has_no_encoder():
    assert set(build().domain_encoders) == {"0", "2"}


# The graphs


def test_both_graphs_are_those_of_the_events_it_is_given(tiny_dataset):
    reading_all = Catalogue.of(tiny_dataset)
    related = Catalogue.of(tiny_dataset, (0, 1, 0))
    for ends, catalogue in product((tiny_dataset.train_end, tiny_dataset.validation_end), (reading_all, related)):
        model = small_model(catalogue, name="c2dsr")
        model.observe(tiny_dataset, ends)
        for together, graph in ((catalogue.community_of, model.cross_graph), (np.arange(3), model.single_graph)):
            expected = preceding_items(tiny_dataset, ends, together, 8)
            assert graph.neighbours[: tiny_dataset.num_items].tolist() == expected.tolist()
            assert (graph.neighbours[tiny_dataset.num_items :] == -1).all()


@pytest.mark.parametrize(("graph", "place"), [("cross_graph", 3), ("single_graph", 3)])
def test_an_item_brings_its_neighbours_vectors_along(graph, place):
    model = build().eval()
    getattr(model, graph).neighbours[1, 0] = 4  # item 4 comes before item 1
    history = [0, 5, 1, 2, 3]
    before = answers(model, [history])
    with torch.no_grad():
        model.embedding.items.weight[4].add_(torch.arange(8.0))  # a constant would be normalised away
    changed = (answers(model, [history]) != before).any(1).nonzero().flatten().tolist()
    assert changed == [place, place + 1]


def test_the_graphs_of_a_trained_run_are_of_the_events_it_was_trained_on(tiny_dataset_path, tiny_dataset, tmp_path):
    settings = ["model.dim=8", "model.max_length=6", "training.epochs=1", "training.threads=1", "model.name=c2dsr"]
    run = train(
        tiny_dataset_path, tmp_path / "run", settings=[*settings, "training.refit=validation"], show_progress=False
    )
    for trained, ends in (
        (run.directory.trained_model(torch.device("cpu"), for_validation=True), tiny_dataset.train_end),
        (run.trained, tiny_dataset.validation_end),
    ):
        expected = preceding_items(tiny_dataset, ends, np.zeros(3, int), 8)
        assert trained.model.cross_graph.neighbours[: len(expected)].tolist() == expected.tolist()


def test_saved_graphs_are_loaded(tmp_path, tiny_dataset):
    catalogue = Catalogue.of(tiny_dataset)
    model, other = (small_model(catalogue, seed, name="c2dsr").eval() for seed in (1, 2))
    model.observe(tiny_dataset, tiny_dataset.train_end)
    save_checkpoint(tmp_path / "model.safetensors", {"model": model.state_dict()}, {})
    load_module(other, load_checkpoint(tmp_path / "model.safetensors").tensors["model"], "model")
    _, batch = training_batch(catalogue, random_histories(catalogue, [6, 5]), T)
    assert torch.equal(other.encode(batch)["cross"], model.encode(batch)["cross"])


# The infomax objective


def test_infomax_by_hand():
    infomax = Infomax(3, 2)
    with torch.no_grad():
        infomax.discriminator[2] = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    own = torch.tensor([[1.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    true = torch.tensor([[2.0, 5.0], [1.0, 1.0], [0.5, 0.25]])
    false = torch.tensor([[-2.0, 5.0], [1.0, -1.0], [1.0, 1.0]])

    def loss(of_true, of_false):
        return math.log1p(math.exp(-of_true)) + math.log1p(math.exp(of_false))

    first, second = loss(1.0, -1.0), loss(1.5, -1.5)  # W_0 = I / 2
    third = loss(2 * 0.5 + 1 * 0.25, 2 + 1)  # own W_2 = (2, 1)
    found = infomax(own, true, false, torch.tensor([0, 0, 2]))
    assert float(found.detach()) == pytest.approx((first + second) / 2 + third, abs=1e-6)


def test_where_nothing_can_be_told_it_costs_twice_the_logarithm_of_two_a_domain():
    same = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    found = Infomax(3, 8)(torch.zeros(4, 8), same, same, torch.tensor([0, 0, 1, 1]))
    assert float(found.detach()) == pytest.approx(2 * 2 * math.log(2))


def corrupted(model, seed):
    _, batch = training_batch(CATALOGUE, HISTORIES, T)
    generator = torch.Generator().manual_seed(seed)
    chosen = model._choose_domains(batch, generator)
    tokens = model._corrupt(batch, chosen, generator)
    return batch, {int(batch.users[t]): int(batch.domains[t]) for t in chosen}, tokens


def test_corruption_replaces_the_events_of_one_domain_a_user_by_items_of_it():
    model = build()
    seen = set()
    for seed in range(20):
        batch, domain_of_user, tokens = corrupted(model, seed)
        seen |= set(domain_of_user.items())
        for user, history in enumerate(HISTORIES):
            in_segment = batch.cross.segments == user
            before, after = batch.cross.tokens[in_segment].tolist(), tokens[in_segment].tolist()
            assert before == [CATALOGUE.num_items, *history[:-1]]
            assert after[0] == before[0]
            for old, new in zip(before[1:], after[1:], strict=True):
                assert domain_of(old) == domain_of(new)
                assert old == new or domain_of_user[user] == domain_of(old)
        assert (tokens != batch.cross.tokens).any()
    assert seen == {(0, 0), (0, 2), (1, 0), (1, 2), (2, 0), (2, 2)}  # user 3 has events in the one-item domain alone


def test_the_loss_equals_the_loop_over_users():
    model = build().eval()
    batch, domain_of_user, tokens = corrupted(model, 3)
    found = model.encode_to_train(batch, torch.Generator().manual_seed(3)).own_losses["infomax"]
    own = model._represent_own(batch)
    true, false = (model._represent_mixed(batch, 1.5 * model.embedding.items(t)) for t in (batch.cross.tokens, tokens))
    losses = {0: [], 2: []}
    for user, domain in domain_of_user.items():
        here = batch.users == user
        prototype, mean, wrong = own[here & (batch.domains == domain)].mean(0), true[here].mean(0), false[here].mean(0)
        asked = prototype @ model.infomax.discriminator[domain]
        losses[domain].append(-torch.log(torch.sigmoid(asked @ mean)) - torch.log(1 - torch.sigmoid(asked @ wrong)))
    expected = sum(torch.stack(values).mean() for values in losses.values() if values)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sizes", [(5, 7), (3, 1, 4, 2, 6)], ids=["D=2", "D=5"])
def test_a_step_with_domains_that_are_absent_is_finite(sizes):
    catalogue = catalogue_of(*sizes)
    model = small_model(catalogue, name="c2dsr")
    objective = objective_for(small_config(model={"name": "c2dsr"}), catalogue)
    for present in range(1, len(sizes) + 1):
        _, batch = training_batch(catalogue, random_histories(catalogue_of(*sizes[:present]), [7, 1, 5]), T)
        report = objective(model, batch, torch.Generator().manual_seed(present))
        report.total.backward()
        assert torch.isfinite(report.total)
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        assert (report.domain_losses["cross"][present:] == 0).all()


def test_a_batch_in_one_item_domains_alone_costs_nothing():
    model = build()
    _, batch = training_batch(CATALOGUE, [[5, 5], [5]], T)
    answer, own_losses = model.encode_to_train(batch, torch.Generator().manual_seed(0))
    assert torch.isfinite(answer["cross"]).all()
    assert float(own_losses["infomax"].detach()) == 0
