"""GRU4Rec against its equations, an event at a time."""

from dataclasses import replace

import pytest
import torch

from builders import (
    catalogue_of,
    in_given_order,
    query_batch,
    random_histories,
    shake,
    small_model,
    times_of,
    training_batch,
)

CATALOGUE = catalogue_of(5, 3, 7)
HISTORIES = [[0, 6, 1, 12, 8, 2, 5], [9, 7, 4], [3, 14, 13, 6], [2]]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def build(**model):
    model = small_model(CATALOGUE, name="gru4rec", **{"item_similarity": False, **model})
    shake(model)
    return model


def stepped(layer, inputs):
    """All states of one layer from state zero: the GRU of Cho et al. 2014 as torch writes it, a step at a time."""
    state, states = torch.zeros(inputs.shape[1]), []
    for x in inputs:
        of_input = layer.weight_ih_l0 @ x + layer.bias_ih_l0
        of_state = layer.weight_hh_l0 @ state + layer.bias_hh_l0
        (reset_x, update_x, new_x), (reset_h, update_h, new_h) = of_input.chunk(3), of_state.chunk(3)
        update = torch.sigmoid(update_x + update_h)
        new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        state = (1 - update) * new + update * state
        states.append(state)
    return torch.stack(states)


def expected(model, history):
    """The state before each event of one user's history."""
    tokens = torch.tensor([CATALOGUE.num_items, *history[:-1]])
    domains = torch.searchsorted(torch.tensor(CATALOGUE.offsets), tokens, right=True) - 1
    times = torch.tensor([0, *times_of(history[:-1])])
    places = torch.arange(len(history))
    from_end = (len(history) - places) * (places > 0)
    states = model.embedding(*(codes[None] for codes in (tokens, domains, places, times)), from_end=from_end[None])[0]
    for layer in model.layers:
        states = stepped(layer, states)
    return states


@pytest.mark.parametrize("num_layers", [1, 2])
def test_the_answer_is_the_state_before_the_target(num_layers):
    model = build(num_layers=num_layers).eval()
    packed, batch = training_batch(CATALOGUE, HISTORIES, 6)
    found = in_given_order(packed, model.encode(batch)["cross"])
    torch.testing.assert_close(found, torch.cat([expected(model, history) for history in HISTORIES]), **CLOSE)


def test_the_answer_after_all_events_is_the_last_state():
    model = build().eval()
    packed, batch = query_batch(CATALOGUE, [[0, 6, 1], [], [9]], [2, 0, 1], 6)
    for asked in (batch, replace(batch, only_asked=True)):
        found = in_given_order(packed, model.encode(asked)["cross"])
        wanted = [expected(model, [*history, 0])[-1] for history in ([0, 6, 1], [], [9])]
        torch.testing.assert_close(found, torch.stack(wanted), **CLOSE)


def test_the_single_view_is_not_read():
    assert build().views == ("cross",)


def test_dropout_acts_on_every_layer():
    model = build(num_layers=2, dropout=0.5).train()
    masks = []
    model.dropout.register_forward_hook(lambda module, given, out: masks.append((out != given[0]).any().item()))
    model.encode(training_batch(CATALOGUE, random_histories(CATALOGUE, [7, 3]), 6)[1])
    assert masks == [True, True, True]


def test_no_histories_give_no_answers():
    _, batch = query_batch(CATALOGUE, [], [], 6)
    assert build().eval().encode(batch)["cross"].shape == (0, 8)
