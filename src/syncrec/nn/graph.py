"""Graph convolution over a fixed graph, for the nodes of a batch alone."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GraphConvolution"]


class GraphConvolution(nn.Module):
    """x_i + g_i with g_i = (x_i + mean of x_j over the neighbours j of node i) / 2: one layer, averaged with its input.

    The graph is a buffer of fixed shape, so that it is saved and loaded with the model: at most `num_neighbours` of
    each node, -1 where there are fewer. A fresh graph has no edge; a node without any gives 3/2 x_i.
    """

    neighbours: Tensor  # int32 [nodes, k]

    def __init__(self, num_nodes: int, num_neighbours: int) -> None:
        super().__init__()
        self.register_buffer("neighbours", torch.full((num_nodes, num_neighbours), -1, dtype=torch.int32))

    def forward(self, nodes: Tensor, vectors: Callable[[Tensor], Tensor]) -> Tensor:
        """Convolved vectors of `nodes`, float [..., dim] for int64 [...].

        Args:
            nodes: int64 [...]; the cost is that of the distinct ones and their neighbours.
            vectors: gives x of nodes, float [..., dim] for int64 [...].
        """
        used, places = torch.unique(nodes, return_inverse=True)
        neighbours = self.neighbours[used].long()
        is_there = neighbours >= 0
        read = torch.cat([used[:, None], torch.where(is_there, neighbours, used[:, None])], 1)
        shares = is_there / is_there.sum(1, keepdim=True).clamp(min=1)
        weights = torch.cat([torch.full_like(shares[:, :1], 1.5), shares / 2], 1)
        return F.embedding(places, (weights.unsqueeze(-1) * vectors(read)).sum(1))
