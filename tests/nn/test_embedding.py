import torch
from torch import nn

from syncrec.nn.dropout import PooledDropout
from syncrec.nn.embedding import HistoryEmbedding, PositionEmbedding, TimeEmbedding, initialise_linear


def test_embedding_is_the_normalised_sum_of_item_domain_and_position():
    torch.manual_seed(0)
    embedding = HistoryEmbedding(num_tokens=7, num_domains=2, max_length=3, dim=4, dropout=PooledDropout(0.0))
    found = embedding(torch.tensor([[6, 2]]), torch.tensor([[2, 1]]), torch.tensor([[0, 3]]), torch.tensor([[0, 99]]))
    for place, (token, domain, position) in enumerate([(6, 2, 0), (2, 1, 3)]):
        total = (
            embedding.items.weight[token]
            + embedding.domains.weight[domain]
            + embedding.positions.from_start.weight[position]
        )
        expected = (total - total.mean()) / torch.sqrt(total.var(unbiased=False) + 1e-5)
        torch.testing.assert_close(found[0, place], expected)


def test_vectors_of_items_may_be_given_in_place_of_the_tables_rows():
    torch.manual_seed(0)
    embedding = HistoryEmbedding(num_tokens=7, num_domains=2, max_length=3, dim=4, dropout=PooledDropout(0.0))
    codes = [torch.tensor([row]) for row in ([6, 2], [2, 1], [0, 3], [0, 99])]
    rows = embedding.items(codes[0])
    assert torch.equal(embedding(*codes, items=rows), embedding(*codes))
    assert not torch.allclose(embedding(*codes, items=rows + torch.tensor([1.0, 0, 0, 0])), embedding(*codes))


def test_positions_behind_the_last_one_of_training_share_its_vector():
    start, end, both = (PositionEmbedding(count, 5, 2) for count in ("start", "end", "both"))
    places, back = torch.arange(6), torch.arange(6).flip(0)
    for last, read in ((5, [0, 1, 2, 3, 4, 5]), (3, [0, 1, 2, 3, 3, 3])):
        for embedding in (start, end, both):
            embedding.last.fill_(last)
        assert torch.equal(start(places, None), start.from_start.weight[read])
        assert torch.equal(end(places, back), end.from_end.weight[read].flip(0))
        assert torch.equal(both(places, back), both.from_start.weight[read] + both.from_end.weight[read].flip(0))


DAY_S = 86_400


def time_codes(times, positions, edges=(10 * DAY_S, 20 * DAY_S)):
    """(period, gap) codes of one row, read from an embedding whose rows are their own numbers."""
    part = TimeEmbedding(2, len(edges) + 1, edges)
    with torch.no_grad():
        for place, table in enumerate((part.periods, part.gaps)):
            table.weight.zero_()
            table.weight[:, place] = torch.arange(len(table.weight))
    found = part(torch.tensor([times]), torch.tensor([positions]))[0].int()
    return [tuple(row) for row in found.tolist()]


def test_a_start_token_has_no_time_and_the_first_event_no_gap():
    assert time_codes([0, 5 * DAY_S, 0, 15 * DAY_S], [0, 1, 0, 1]) == [(0, 0), (1, 0), (0, 0), (2, 0)]


def test_periods_lie_between_the_edges_and_the_last_one_has_no_end():
    times = [0, 10 * DAY_S - 1, 10 * DAY_S, 20 * DAY_S, 999 * DAY_S]
    assert [period for period, _ in time_codes(times, [1, 1, 1, 1, 1])] == [1, 1, 2, 3, 3]


def test_gaps_are_powers_of_two_minutes():
    gaps = [0, 60, 180, 181, DAY_S, 2 * DAY_S, 400 * DAY_S, 40_000 * DAY_S]
    for gap, code in zip(gaps, [1, 2, 3, 4, 12, 13, 21, 24], strict=True):
        assert time_codes([0, 7, 7 + gap], [0, 1, 2])[2][1] == code


def test_an_event_out_of_order_counts_as_without_gap():
    assert time_codes([0, 5 * DAY_S, 4 * DAY_S], [0, 1, 2])[2] == (1, 1)


def test_edges_are_kept_with_the_weights():
    saved = TimeEmbedding(2, 3, (10, 20)).state_dict()
    other = TimeEmbedding(2, 3)
    other.load_state_dict(saved)
    assert other.edges.tolist() == [10, 20]


def test_linear_parts_start_small_and_without_bias():
    part = nn.Sequential(nn.Linear(30, 40), nn.ModuleList([nn.Linear(40, 2, bias=False)]))
    initialise_linear(part)
    assert 0.015 < float(part[0].weight.detach().std()) < 0.025
    assert torch.equal(part[0].bias, torch.zeros(40))
