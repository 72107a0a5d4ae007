import torch
from torch import nn

from syncrec.nn.dropout import PooledDropout
from syncrec.nn.embedding import HistoryEmbedding, initialise_linear


def test_embedding_is_the_normalised_sum_of_item_domain_and_position():
    torch.manual_seed(0)
    embedding = HistoryEmbedding(num_tokens=7, num_domains=2, max_length=3, dim=4, dropout=PooledDropout(0.0))
    found = embedding(torch.tensor([[6, 2]]), torch.tensor([[2, 1]]), torch.tensor([[0, 3]]))
    for place, (token, domain, position) in enumerate([(6, 2, 0), (2, 1, 3)]):
        total = embedding.items.weight[token] + embedding.domains.weight[domain] + embedding.positions.weight[position]
        expected = (total - total.mean()) / torch.sqrt(total.var(unbiased=False) + 1e-5)
        torch.testing.assert_close(found[0, place], expected)


def test_linear_parts_start_small_and_without_bias():
    part = nn.Sequential(nn.Linear(30, 40), nn.ModuleList([nn.Linear(40, 2, bias=False)]))
    initialise_linear(part)
    assert 0.015 < float(part[0].weight.detach().std()) < 0.025
    assert torch.equal(part[0].bias, torch.zeros(40))
