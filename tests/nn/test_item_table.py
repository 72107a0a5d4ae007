"""The item table against `nn.Embedding`, whose gradients it must give."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from syncrec.nn.item_table import ItemTable

ROWS = [torch.tensor([[0, 3, 3], [6, 1, 0]]), torch.tensor([3, 5]), torch.tensor(2), torch.tensor([], dtype=torch.long)]


@pytest.fixture
def tables():
    torch.manual_seed(0)
    ours, theirs = ItemTable(7, 4), nn.Embedding(7, 4)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def loss_of(table, rows=ROWS):
    return sum((n + 1) * (table(asked) ** 3).sum() for n, asked in enumerate(rows))


def assert_same_gradients(ours, theirs):
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_gradients_of_several_look_ups_are_those_of_an_embedding(tables):
    for step in range(3):
        for table in tables:
            loss_of(table, ROWS[: step + 1]).backward()
        assert_same_gradients(*tables)


def test_there_is_one_gradient_of_the_whole_table_a_step(tables):
    def tables_made(table):
        with profile(activities=[ProfilerActivity.CPU]) as watched:
            loss_of(table).backward()
        return sum(event.name == "aten::embedding_dense_backward" for event in watched.events())

    assert [tables_made(table) for table in tables] == [1, len(ROWS)]


def test_look_ups_that_no_loss_reads_do_not_count(tables):
    for table in tables:
        loss_of(table)  # a step that ended without a backward pass
        table(torch.tensor([4]))
        loss_of(table).backward()
        loss_of(table, ROWS[1:]).backward()
    assert_same_gradients(*tables)


def test_a_graph_can_be_gone_through_twice_and_by_parts(tables):
    for table in tables:
        loss = loss_of(table)
        loss.backward(retain_graph=True)
        loss.backward()
        one, other = table(ROWS[0]), table(ROWS[1])
        one.square().sum().backward()
        other.square().sum().backward()
    assert_same_gradients(*tables)


def test_what_is_asked_for_by_hand_is_the_same(tables):
    found = [torch.autograd.grad(loss_of(table), table.weight)[0] for table in tables]
    torch.testing.assert_close(*found)


def test_gradients_go_to_the_weights_that_were_looked_up(tables):
    ours, theirs = tables
    loss_of(ours)  # nobody goes back through it
    swapped = {"weight": torch.randn(7, 4, requires_grad=True)}
    for table in tables:
        torch.func.functional_call(table, swapped, (ROWS[0],)).sum().backward()
    assert ours.weight.grad is theirs.weight.grad is None
    torch.testing.assert_close(
        swapped["weight"].grad, 2 * torch.bincount(ROWS[0].flatten(), minlength=7)[:, None].expand(7, 4).float()
    )


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda table: pickle.loads(pickle.dumps(table))])
def test_a_table_can_be_copied_within_a_step(tables, copied):
    ours, theirs = tables
    loss = loss_of(ours)
    other = copied(ours)
    loss.backward()
    loss_of(other).backward()
    loss_of(theirs).backward()
    assert_same_gradients(ours, theirs)
    assert_same_gradients(other, theirs)


def test_without_gradients_or_with_sparse_ones_it_is_an_embedding(tables):
    ours, theirs = tables
    with torch.no_grad():
        assert not ours(ROWS[0]).requires_grad
    for table in tables:
        table.sparse = True
        loss_of(table, ROWS[:2]).backward()
    assert ours.weight.grad.is_sparse
    torch.testing.assert_close(ours.weight.grad.to_dense(), theirs.weight.grad.to_dense())
    ours.weight.requires_grad_(False)
    assert not ours(ROWS[0]).requires_grad


def test_a_backward_pass_that_broke_off_leaves_nothing_behind(tables):
    def interrupt(_):
        raise KeyboardInterrupt

    for table in tables:
        early, late = table(torch.tensor([0, 1])), table(torch.tensor([2]))
        through = early * 1.0
        through.register_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            (late.sum() + through.sum()).backward()
        table.weight.grad = None
        table(torch.tensor([4])).sum().backward()
    assert_same_gradients(*tables)
