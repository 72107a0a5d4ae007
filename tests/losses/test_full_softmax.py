"""Blocks of rows and items against torch's cross entropy, one domain at a time."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from syncrec.losses import full_softmax
from syncrec.losses.full_softmax import full_softmax_loss

OFFSETS = (0, 5, 6, 30)
ROW_COUNTS = (7, 3, 12)
ANSWERS = 2


def inputs(row_counts=ROW_COUNTS, offsets=OFFSETS, dim=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = [
        torch.randint(offsets[d], offsets[d + 1], (count,), generator=generator) for d, count in enumerate(row_counts)
    ]
    queries = torch.randn(sum(row_counts), ANSWERS, dim, generator=generator) * 2
    items = torch.randn(offsets[-1], dim, generator=generator)
    return queries.requires_grad_(), items.requires_grad_(), torch.cat(targets)


def plain(queries, items, targets, row_counts=ROW_COUNTS, offsets=OFFSETS):
    losses, first = [], 0
    for domain, count in enumerate(row_counts):
        start, stop = offsets[domain : domain + 2]
        logits = queries[first : first + count] @ items[start:stop].T  # [rows, answers, items]
        wanted = (targets[first : first + count] - start)[:, None].expand(count, queries.shape[1])
        losses.append(F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none"))
        first += count
    return torch.cat(losses)


def gradients(loss, *leaves, weights=None):
    weights = torch.linspace(0.2, 2.0, loss.numel()).view(loss.shape) if weights is None else weights
    return torch.autograd.grad((loss * weights).sum(), leaves)


def by_domain(row_counts):
    """A weight for each domain and answer, as a mean by domain gives."""
    weights = torch.rand(len(row_counts), ANSWERS, generator=torch.Generator().manual_seed(5)) + 0.1
    return weights.repeat_interleave(torch.tensor(row_counts), 0)


def assert_equals_plain(queries, items, targets, row_counts=ROW_COUNTS, offsets=OFFSETS):
    found = full_softmax_loss(queries, items, targets, row_counts, offsets)
    expected = plain(queries, items, targets, row_counts, offsets)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for weights in (by_domain(row_counts), None):  # the first scales what the forward pass made, the second cannot
        found = full_softmax_loss(queries, items, targets, row_counts, offsets)
        have = gradients(found, queries, items, weights=weights)
        want = gradients(plain(queries, items, targets, row_counts, offsets), queries, items, weights=weights)
        for one, other in zip(have, want, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def set_blocks(patch, elements, rows=1):
    patch.setattr(full_softmax, "_BLOCK_ELEMENTS", {"cpu": elements})
    patch.setattr(full_softmax, "_MIN_ROWS", rows)
    patch.setattr(full_softmax, "_STRETCH", 1)


def test_one_block_equals_cross_entropy():
    assert_equals_plain(*inputs())


@pytest.mark.parametrize(("elements", "rows"), [(1, 1), (8, 2), (24, 4), (50, 3)])
def test_small_blocks_of_rows_and_items_equal_cross_entropy(monkeypatch, elements, rows):
    set_blocks(monkeypatch, elements, rows)
    blocks = list(full_softmax._blocks(ROW_COUNTS, OFFSETS, [range(ANSWERS)] * len(ROW_COUNTS), elements))
    assert len(blocks) > 3
    if elements < 50:
        assert max(len(block.ranges) for block in blocks) > 1
    assert_equals_plain(*inputs())


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=4),
    st.integers(1, 40),
    st.integers(1, 5),
)
def test_blocks_cover_every_row_and_item_of_its_domain_once(domains, elements, rows):
    counts = [count for count, _ in domains]
    offsets = [sum(size for _, size in domains[:d]) for d in range(len(domains) + 1)]
    with pytest.MonkeyPatch.context() as patch:
        set_blocks(patch, elements, rows)
        blocks = list(full_softmax._blocks(counts, offsets, [range(ANSWERS)] * len(counts), elements))
    seen = [
        (row, item)
        for block in blocks
        if block.answer == 1
        for row in range(block.rows.start, block.rows.stop)
        for i, j in block.ranges
        for item in range(i, j)
    ]
    assert sum(block.answer == 0 for block in blocks) == sum(block.answer == 1 for block in blocks)
    domain_of_row = [d for d, count in enumerate(counts) for _ in range(count)]
    wanted = [(row, item) for row, d in enumerate(domain_of_row) for item in range(offsets[d], offsets[d + 1])]
    assert sorted(seen) == wanted


def test_rows_weigh_what_they_are_told(monkeypatch):
    queries, items, targets = inputs()
    of_rows = torch.rand(len(targets), generator=torch.Generator().manual_seed(3)) + 0.1
    walks = []
    run = full_softmax._Walk.run
    monkeypatch.setattr(full_softmax._Walk, "run", lambda *given: walks.append(given) or run(*given))
    for weights in (by_domain(ROW_COUNTS), None):
        found = full_softmax_loss(queries, items, targets, ROW_COUNTS, OFFSETS, row_weights=of_rows)
        expected = plain(queries, items, targets) * of_rows[:, None]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        have = gradients(found, queries, items, weights=weights)
        for one, other in zip(have, gradients(expected, queries, items, weights=weights), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert len(walks) == 3  # the first backward pass scales what the forward pass made


@pytest.mark.parametrize("of_rows", [None, torch.linspace(0.5, 1.5, sum(ROW_COUNTS))])
def test_answers_that_are_alike_are_computed_once(monkeypatch, of_rows):
    queries, items, targets = inputs()
    is_alike = [True, False, True]
    alike = torch.tensor(is_alike).repeat_interleave(torch.tensor(ROW_COUNTS))
    one = torch.where(alike[:, None, None], queries[:, -1:].detach(), queries.detach()[:, :1])
    asked = torch.cat([one, queries[:, -1:]], 1)
    weights = by_domain(ROW_COUNTS)
    weights[alike, 0] = 0
    expected = plain(asked, items, targets) * (1 if of_rows is None else of_rows[:, None])
    want = gradients(expected, queries, items, weights=weights)
    seen = []
    exponentials = full_softmax._exponentials
    monkeypatch.setattr(
        full_softmax, "_exponentials", lambda *given: seen.append(len(given[0])) or exponentials(*given)
    )
    found = full_softmax_loss(asked, items, targets, ROW_COUNTS, OFFSETS, row_weights=of_rows, is_alike=is_alike)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for have, other in zip(gradients(found, queries, items, weights=weights), want, strict=True):
        torch.testing.assert_close(have, other, atol=1e-5, rtol=1e-5)
    assert sum(seen) == sum(ROW_COUNTS) + ROW_COUNTS[1]


def test_domain_without_rows():
    counts = (4, 0, 3)
    assert_equals_plain(*inputs(counts), counts)


def test_one_item_catalogue_costs_nothing_and_teaches_nothing():
    counts, offsets = (3,), (0, 1)
    queries, items, targets = inputs(counts, offsets)
    loss = full_softmax_loss(queries, items, targets, counts, offsets)
    torch.testing.assert_close(loss, torch.zeros(3, ANSWERS), atol=1e-6, rtol=0)
    for gradient in gradients(loss, queries, items):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-5, rtol=0)


def test_large_scores_neither_overflow_nor_lose_the_gradient(monkeypatch):
    set_blocks(monkeypatch, 8)
    queries, items, targets = inputs()
    large = (queries.detach() * 300).requires_grad_()
    loss = full_softmax_loss(large, items, targets, ROW_COUNTS, OFFSETS)
    torch.testing.assert_close(loss, plain(large, items, targets), atol=1e-2, rtol=1e-5)
    assert all(torch.isfinite(g).all() for g in gradients(loss, large, items))


def test_bfloat16_autocast_stays_near(monkeypatch):
    set_blocks(monkeypatch, 24, 4)
    queries, items, targets = inputs()
    expected = plain(queries, items, targets)
    with torch.autocast("cpu", torch.bfloat16):
        found = full_softmax_loss(queries, items, targets, ROW_COUNTS, OFFSETS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0.02)
    for have, want in zip(gradients(found, queries, items), gradients(expected, queries, items), strict=True):
        assert have.dtype == torch.float32
        assert float((have - want).norm() / want.norm()) < 0.02


def test_gradient_equals_the_finite_difference():
    queries, items, targets = inputs((2, 1, 2), (0, 3, 4, 8), dim=3)
    loss = full_softmax_loss(queries, items, targets, (2, 1, 2), (0, 3, 4, 8)).sum()
    (gradient,) = torch.autograd.grad(loss, items)
    step = torch.zeros_like(items)
    step[5, 1] = 1e-2
    up, down = (
        float(full_softmax_loss(queries, items.detach() + s * step, targets, (2, 1, 2), (0, 3, 4, 8)).sum().detach())
        for s in (1, -1)
    )
    assert (up - down) / 2e-2 == pytest.approx(float(gradient[5, 1]), abs=2e-3)


@pytest.mark.parametrize("elements", [8, 10**9])
@pytest.mark.parametrize("largest", [0.0, 1e9])
def test_bounded_or_not_and_in_one_range_or_several_it_is_cross_entropy(monkeypatch, largest, elements):
    monkeypatch.setattr(full_softmax, "_SAFE_SCORE", largest)
    set_blocks(monkeypatch, elements)
    assert_equals_plain(*inputs())


def test_scores_whose_exponentials_overflow_are_no_trouble():
    queries, items, targets = inputs()
    found = full_softmax_loss(200 * queries, items, targets, ROW_COUNTS, OFFSETS)
    torch.testing.assert_close(found, plain(200 * queries, items, targets), atol=1e-3, rtol=1e-5)
    assert found.max() > 100


def test_a_second_backward_pass_gives_the_same_gradients():
    queries, items, targets = inputs()
    loss = full_softmax_loss(queries, items, targets, ROW_COUNTS, OFFSETS).sum()
    first = torch.autograd.grad(loss, (queries, items), retain_graph=True)
    second = torch.autograd.grad(loss, (queries, items))
    for have, want in zip(second, first, strict=True):
        torch.testing.assert_close(have, want, atol=1e-6, rtol=1e-6)


def test_a_loss_without_gradient_makes_none(monkeypatch):
    queries, items, targets = inputs()
    monkeypatch.setattr(full_softmax, "_add_product", lambda *_: pytest.fail("a gradient was made"))
    loss = full_softmax_loss(queries.detach(), items.detach(), targets, ROW_COUNTS, OFFSETS)
    torch.testing.assert_close(loss, plain(queries, items, targets).detach(), atol=1e-5, rtol=1e-5)


def test_memory_does_not_grow_with_rows_times_items():
    """A matrix of all scores would take 400 MB."""
    queries, items, targets = inputs((5000,), (0, 20_000))
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        full_softmax_loss(queries, items, targets, (5000,), (0, 20_000)).sum().backward()
    assert max(event.cpu_memory_usage for event in profile.events()) < 40 * 2**20
