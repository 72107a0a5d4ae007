import pytest
import torch
from torch import nn

from syncrec.nn.graph import GraphConvolution


def graph_of(neighbours, k=3):
    """A graph from lists of neighbours."""
    graph = GraphConvolution(len(neighbours), k)
    for node, row in enumerate(neighbours):
        graph.neighbours[node, : len(row)] = torch.tensor(row, dtype=torch.int32)
    return graph


def test_a_node_is_added_to_the_mean_of_itself_and_its_neighbours_mean():
    table = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0], [8.0, -8.0]])
    found = graph_of([[1, 2], [], [3], [0, 1, 2]])(torch.tensor([[0, 1], [3, 0]]), lambda nodes: table[nodes])
    first = table[0] + (table[0] + (table[1] + table[2]) / 2) / 2
    last = table[3] + (table[3] + (table[0] + table[1] + table[2]) / 3) / 2
    torch.testing.assert_close(found, torch.stack([first, 1.5 * table[1], last, first]).view(2, 2, 2))


def test_gradient_reaches_nodes_and_neighbours_as_often_as_they_are_read():
    table = nn.Embedding(4, 2)
    graph_of([[1, 2], [], [3], []])(torch.tensor([0, 0, 3]), table).sum().backward()
    assert table.weight.grad[:, 0].tolist() == pytest.approx([2 * 1.5, 2 * 0.25, 2 * 0.25, 1.5])


def test_the_graph_is_saved_state_and_a_fresh_one_has_no_edge():
    graph, fresh = graph_of([[1], [0], []]), GraphConvolution(3, 3)
    assert (fresh.neighbours == -1).all()
    assert list(fresh.state_dict()) == ["neighbours"]
    fresh.load_state_dict(graph.state_dict())
    assert fresh.neighbours[:2, 0].tolist() == [1, 0]
    assert not list(graph.parameters())
