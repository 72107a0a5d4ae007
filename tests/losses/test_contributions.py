"""The estimate of what domains contribute, against exact Shapley values from all orders of the players."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest
import torch

from builders import (
    catalogue_of,
    objective_for,
    query_batch,
    random_histories,
    shake,
    small_config,
    small_model,
    times_of,
    training_batch,
)
from syncrec.config import TransferConfig
from syncrec.losses.contributions import Coalitions, Contributions, draw_coalitions, marginal_contributions

CATALOGUE = catalogue_of(5, 3, 1, 6)
NUM_DOMAINS = 4
T = 6
HISTORIES = [[0, 5, 9, 8, 1], [10, 6, 2, 8, 11, 3], [7, 12], [4, 13, 5]]


def domain_of(item):
    return int(np.searchsorted(CATALOGUE.offsets, item, side="right")) - 1


@pytest.fixture(scope="module")
def game():
    """A model with its objective, a packed batch, and (user, place) of every target in its order."""
    model = small_model(CATALOGUE, name="cgrec", max_length=T, dropout=0.4)
    shake(model)
    objective = objective_for(small_config(model={"name": "cgrec"}), CATALOGUE)
    packed, batch = training_batch(CATALOGUE, HISTORIES, T)
    places = [(user, place) for user, history in enumerate(HISTORIES) for place in range(len(history))]
    return model, objective.next_item, batch, [places[number] for number in packed.order]


def loss_after(model, history, place, kept):
    """l_t(S): cross entropy over the target's domain after the events of the domains `kept`, asked anew."""
    domain = domain_of(history[place])
    pairs = list(zip(history, times_of(history), strict=True))[:place]
    left = [(event, time) for event, time in pairs if domain_of(event) in kept]
    _, query = query_batch(CATALOGUE, [[e for e, _ in left]], [domain], T, [[t for _, t in left]])
    start, stop = CATALOGUE.offsets[domain], CATALOGUE.offsets[domain + 1]
    scores = model.query_vectors(model.encode(query)["cross"])[0] @ model.item_vectors()[start:stop].T
    return float(scores.logsumexp(0) - scores[history[place] - start])


@torch.no_grad()
def shapley_values(model, history, place):
    """{player: mean over all orders of what it adds}, the players being all other domains."""
    own, was_training = domain_of(history[place]), model.training
    model.eval()
    players = [d for d in range(NUM_DOMAINS) if d != own]
    coalitions = {frozenset([own, *order[:n]]) for order in permutations(players) for n in range(len(order) + 1)}
    worth = {coalition: -loss_after(model, history, place, coalition) for coalition in coalitions}
    values = dict.fromkeys(players, 0.0)
    for order in permutations(players):
        for count, player in enumerate(order):
            before = frozenset([own, *order[:count]])
            values[player] += (worth[before | {player}] - worth[before]) / factorial(len(players))
    model.train(was_training)
    return values


def all_coalitions(batch, target):
    """Every player with the players before it in every order, for one target."""
    own = int(batch.domains[target])
    rows = []
    for order in permutations(d for d in range(NUM_DOMAINS) if d != own):
        for count, player in enumerate(order):
            rows.append((player, [d == own or d in order[:count] for d in range(NUM_DOMAINS)]))
    sources, before = zip(*rows, strict=True)
    return Coalitions(torch.full((len(rows),), target), torch.tensor(sources), torch.tensor(before))


@pytest.mark.parametrize("target", [0, 4, 7, 12, 15])
def test_the_mean_over_all_orders_is_the_exact_shapley_value(game, target):
    model, next_item, batch, places = game
    coalitions = all_coalitions(batch, target)
    added = marginal_contributions(model, next_item, batch, coalitions, torch.Generator().manual_seed(0))
    user, place = places[target]
    for player, expected in shapley_values(model, HISTORIES[user], place).items():
        assert float(added[coalitions.sources == player].mean()) == pytest.approx(expected, abs=1e-4)


def test_draws_estimate_the_exact_values(game):
    """What a draw says of a target and a player is right on average, to a few standard errors."""
    model, next_item, batch, places = game
    exact = [shapley_values(model, HISTORIES[user], place) for user, place in places]
    errors, values = {}, {}
    for seed in range(60):
        drawn = draw_coalitions(batch, NUM_DOMAINS, torch.Generator().manual_seed(seed))
        added = marginal_contributions(model, next_item, batch, drawn, torch.Generator().manual_seed(0))
        for target, source, found in zip(drawn.targets.tolist(), drawn.sources.tolist(), added.tolist(), strict=True):
            pair = (int(batch.domains[target]), source)
            errors.setdefault(pair, []).append(found - exact[target][source])
            values.setdefault(pair, []).append(abs(exact[target][source]))
    many = [pair for pair in errors if len(errors[pair]) >= 30]
    deviations = {pair: np.std(errors[pair]) / np.sqrt(len(errors[pair])) for pair in many}
    assert len(many) >= 4
    assert sum(np.mean(values[pair]) > 2 * deviations[pair] for pair in many) >= 3
    for pair in many:
        assert abs(np.mean(errors[pair])) < 3 * deviations[pair] + 1e-5


def test_a_draw_asks_one_target_a_user_and_domain_about_a_domain_of_its_history(game):
    _, _, batch, places = game
    drawn = draw_coalitions(batch, NUM_DOMAINS, torch.Generator().manual_seed(0))
    assert (drawn.targets.diff() > 0).all()
    asked = [(int(batch.users[t]), int(batch.domains[t])) for t in drawn.targets]
    assert len(set(asked)) == len(asked)
    for target, source, before in zip(*drawn, strict=True):
        user, place = places[int(target)]
        own = int(batch.domains[target])
        assert int(source) in {domain_of(event) for event in HISTORIES[user][:place]} - {own}
        assert before[own]
        assert not before[source]


def test_players_and_orders_are_drawn_evenly(game):
    _, _, batch, places = game
    target = places.index((1, 4))  # in domain 3, after events of all domains
    found = []
    for seed in range(600):
        drawn = draw_coalitions(batch, NUM_DOMAINS, torch.Generator().manual_seed(seed))
        for row in (drawn.targets == target).nonzero().flatten().tolist():
            found.append((int(drawn.sources[row]), int(drawn.before[row, :3].sum())))
    assert len(found) > 200
    for source in range(3):
        sizes = [size for s, size in found if s == source]
        assert len(sizes) == pytest.approx(len(found) / 3, rel=0.25)
        for size in range(3):
            assert sizes.count(size) == pytest.approx(len(sizes) / 3, rel=0.4)


def test_a_step_asks_no_more_than_a_fixed_number_of_targets():
    _, batch = training_batch(CATALOGUE, random_histories(CATALOGUE, [7] * 40), T)
    assert len(draw_coalitions(batch, NUM_DOMAINS, torch.Generator().manual_seed(0)).targets) == 32


@pytest.mark.parametrize("histories", [[[0, 1, 2]], [[0], [5], [9]]], ids=["one domain", "one event"])
def test_without_events_of_another_domain_there_is_nothing_to_draw(histories):
    _, batch = training_batch(CATALOGUE, histories, T)
    assert len(draw_coalitions(batch, NUM_DOMAINS, torch.Generator().manual_seed(0)).targets) == 0
    config = small_config(model={"name": "cgrec"})
    model, objective = small_model(CATALOGUE, name="cgrec"), objective_for(config, CATALOGUE)
    report = objective(model, batch, torch.Generator().manual_seed(0))
    assert torch.isfinite(report.total)
    assert (objective.contributions.values == 0).all()


def test_playing_leaves_mode_and_gradients_alone(game):
    model, next_item, batch, _ = game
    drawn = draw_coalitions(batch, NUM_DOMAINS, torch.Generator().manual_seed(0))
    for is_training in (True, False):
        model.train(is_training)
        added = marginal_contributions(model, next_item, batch, drawn, torch.Generator().manual_seed(0))
        again = marginal_contributions(model, next_item, batch, drawn, torch.Generator().manual_seed(0))
        assert torch.equal(added, again), "dropout is off"
        assert not added.requires_grad
        assert model.training == model.encoder.training == is_training
    model.train()


def contributions_of(num_domains=3, **config):
    return Contributions(num_domains, TransferConfig(**config))


def test_a_pair_moves_by_the_mean_of_its_contributions_and_others_stay():
    contributions = contributions_of(alpha=0.5, beta=0.1)
    contributions.values.fill_diagonal_(0).add_(torch.tensor([[0, 1.0, 1], [1, 0, 1], [1, 1, 0]]))
    contributions.update(torch.tensor([2.0, 4.0, -6.0]), torch.tensor([0, 0, 2]), torch.tensor([1, 1, 0]))
    expected = [[0, 0.5 + 0.1 * 3, 1], [1, 0, 1], [0.5 - 0.1 * 6, 1, 0]]
    torch.testing.assert_close(contributions.values, torch.tensor(expected))


def test_weights_by_hand_from_the_negative_contributions_alone():
    contributions = contributions_of(temperature=2.0)
    contributions.values.copy_(torch.tensor([[0.0, 5.0, -1.0], [-0.5, 0.0, -1.5], [1.0, 1.0, 0.0]]))
    e = np.exp([-1 / 2, -2 / 2, 0 / 2])
    np.testing.assert_allclose(contributions.weights().numpy(), 3 * e / e.sum(), rtol=1e-6)
    torch.testing.assert_close(contributions.gaps(), torch.tensor([4.0, -2.0, 2.0]))


def test_correction_off_gives_ones():
    contributions = contributions_of(correction=False)
    contributions.values[0, 1] = -3
    assert contributions.weights().tolist() == [1.0, 1.0, 1.0]


def test_contributions_are_saved_state_without_gradient():
    first, second = contributions_of(), contributions_of()
    added = torch.ones(1, requires_grad=True) * 2
    first.update(added, torch.tensor([1]), torch.tensor([2]))
    assert list(first.state_dict()) == ["values"]
    assert not first.values.requires_grad
    assert not first.weights().requires_grad
    assert not list(first.parameters())
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.values, first.values)


@pytest.mark.parametrize("sizes", [(5, 7), (4, 1, 3, 5, 2), (6,)], ids=["D=2", "D=5", "D=1"])
def test_the_objective_weighs_losses_and_moves_contributions_in_training_only(sizes):
    catalogue, config = catalogue_of(*sizes), small_config(model={"name": "cgrec"}, loss={"auxiliary_weight": 0})
    model, objective = small_model(catalogue, name="cgrec"), objective_for(config, catalogue)
    objective.contributions.values.fill_(-1.0).tril_().fill_diagonal_(0)
    before = objective.contributions.values.clone()
    _, batch = training_batch(catalogue, random_histories(catalogue, [7, 6, 7]), T)
    report = objective.eval()(model, batch, torch.Generator().manual_seed(0))
    assert torch.equal(objective.contributions.values, before)
    torch.testing.assert_close(report.total, (report.weights * report.domain_losses["cross"]).sum())
    assert (report.weights.diff() < 0).all()
    report = objective.train()(model, batch, torch.Generator().manual_seed(0))
    assert torch.equal(objective.contributions.values, before) == (len(sizes) == 1)
    assert torch.equal(report.weights, objective.contributions.weights())
    assert torch.equal(report.transfer_gap, objective.contributions.gaps())


def test_other_models_have_no_contributions():
    assert objective_for(small_config(model={"name": "sasrec"}), CATALOGUE).contributions is None
