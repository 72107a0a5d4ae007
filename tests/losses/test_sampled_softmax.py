"""The sampled normaliser with its own backward pass, against a loop over rows and draws."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from syncrec.losses.sampled_softmax import find_hits, sampled_log_normaliser


@given(st.data())
def test_hits_are_the_places_where_a_draw_is_the_target(data):
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    offsets = [sum(sizes[:d]) for d in range(len(sizes) + 1)]
    in_domain = [st.integers(offsets[d], offsets[d + 1] - 1) for d in range(len(sizes))]
    draws = data.draw(st.integers(1, 6))
    drawn = [sorted(data.draw(st.lists(s, min_size=draws, max_size=draws))) for s in in_domain]
    domains = sorted(data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=8)))
    targets = [data.draw(in_domain[d]) for d in domains]
    rows, columns = find_hits(torch.tensor(drawn), torch.tensor(targets), torch.tensor(domains))
    expected = [(n, m) for n, d in enumerate(domains) for m in range(draws) if drawn[d][m] == targets[n]]
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == expected


def looped(queries, negatives, log_weights, counts, hits):
    domain_of_row = [d for d, count in enumerate(counts) for _ in range(count)]
    rows = []
    for row, domain in enumerate(domain_of_row):
        kept = [m for m in range(negatives.shape[1]) if (row, m) not in hits]
        terms = [log_weights[domain, m] + queries[row] @ negatives[domain, m] for m in kept]
        rows.append(torch.stack(terms).logsumexp(0))
    return torch.stack(rows)


def problem(dim=8, draws=12, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    counts = [3, 0, 4]
    queries = (torch.randn(7, dim, generator=generator) * scale).requires_grad_()
    negatives = torch.randn(3, draws, dim, generator=generator, requires_grad=True)
    hits = {(0, 0), (0, 5), (4, 11)}
    places = tuple(torch.tensor(sorted(hits)).T)
    return queries, negatives, torch.randn(3, draws, generator=generator), counts, hits, places


@pytest.mark.parametrize(("dim", "draws"), [(8, 12), (5, 13)], ids=["grouped", "padded"])
@pytest.mark.parametrize("is_uniform", [True, False])
def test_value_and_gradients_equal_the_loop(dim, draws, is_uniform):
    queries, negatives, log_weights, counts, hits, places = problem(dim, draws)
    log_weights = log_weights[:, :1].expand(-1, draws).contiguous() if is_uniform else log_weights
    found = sampled_log_normaliser(queries, negatives, log_weights, torch.tensor(counts), places)
    expected = looped(queries, negatives, log_weights, counts, hits)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    factor = torch.linspace(-1, 2, 7)
    have = torch.autograd.grad((found * factor).sum(), (queries, negatives))
    want = torch.autograd.grad((expected * factor).sum(), (queries, negatives))
    for one, other in zip(have, want, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_large_scores_do_not_overflow():
    queries, negatives, log_weights, counts, hits, places = problem(scale=200)
    found = sampled_log_normaliser(queries, negatives, log_weights, torch.tensor(counts), places)
    torch.testing.assert_close(found, looped(queries, negatives, log_weights, counts, hits), atol=1e-2, rtol=1e-5)


def test_a_row_all_of_whose_draws_are_hits_is_minus_infinity_without_gradient():
    queries = torch.randn(2, 8, requires_grad=True)
    negatives = torch.randn(1, 4, 8, requires_grad=True)
    hits = (torch.zeros(4, dtype=torch.int64), torch.arange(4))
    found = sampled_log_normaliser(queries, negatives, torch.zeros(1, 4), torch.tensor([2]), hits)
    assert found[0] == -torch.inf
    assert torch.isfinite(found[1])
    torch.logaddexp(found, torch.zeros(2)).sum().backward()
    assert torch.equal(queries.grad[0], torch.zeros(8))
    assert torch.isfinite(negatives.grad).all()


def test_bfloat16_autocast_stays_near():
    queries, negatives, log_weights, counts, hits, places = problem(dim=16, draws=16)
    expected = looped(queries, negatives, log_weights, counts, hits)
    with torch.autocast("cpu", torch.bfloat16):
        found = sampled_log_normaliser(queries, negatives, log_weights, torch.tensor(counts), places)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0.02)
    have, want = (torch.autograd.grad(loss.sum(), (queries, negatives)) for loss in (found, expected))
    for one, other in zip(have, want, strict=True):
        assert float((one - other).norm() / other.norm()) < 0.02
