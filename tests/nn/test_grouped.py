import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from syncrec.nn import grouped
from syncrec.nn.grouped import GroupedLinear, grouped_matmul, grouped_outer

COUNTS = [[3, 2, 4], [0, 5, 0], [1], [0, 0, 2, 7, 0]]


def looped(x, weight, counts):
    """Row by row."""
    group_of_row = [group for group, count in enumerate(counts) for _ in range(count)]
    return torch.stack([row @ weight[group] for row, group in zip(x, group_of_row, strict=True)])


def tensors(counts, in_dim, out_dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(counts), in_dim, generator=generator, requires_grad=True)
    weight = torch.randn(len(counts), in_dim, out_dim, generator=generator, requires_grad=True)
    return x, weight


def assert_equal_with_gradients(product, counts, in_dim, out_dim):
    x, weight = tensors(counts, in_dim, out_dim)
    expected, found = looped(x, weight, counts), product(x, weight, torch.tensor(counts))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    factor = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for have, want in zip(
        torch.autograd.grad((found * factor).sum(), (x, weight)),
        torch.autograd.grad((expected * factor).sum(), (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(have, want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize(("in_dim", "out_dim"), [(8, 4), (4, 16), (3, 5)], ids=str)
def test_grouped_product_equals_the_loop(counts, in_dim, out_dim):
    assert_equal_with_gradients(grouped_matmul, counts, in_dim, out_dim)


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize(("in_dim", "out_dim"), [(8, 4), (3, 5)], ids=str)
def test_padded_product_equals_the_loop(counts, in_dim, out_dim):
    assert_equal_with_gradients(grouped._padded_matmul, counts, in_dim, out_dim)


def test_a_torch_without_grouped_mm_takes_the_padded_product(monkeypatch):
    monkeypatch.delattr(F, "grouped_mm", raising=False)
    assert_equal_with_gradients(grouped_matmul, [3, 0, 2], 8, 8)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(any))
def test_any_group_sizes(counts):
    assert_equal_with_gradients(grouped_matmul, counts, 4, 8)


def test_transposed_weights_are_read_as_they_stand():
    x, weight = tensors([2, 3], 8, 4)
    turned = weight.detach().transpose(1, 2).contiguous().transpose(1, 2)
    torch.testing.assert_close(grouped_matmul(x, turned, torch.tensor([2, 3])), looped(x, weight, [2, 3]))


@pytest.mark.parametrize("counts", COUNTS)
@pytest.mark.parametrize(("a", "b"), [(8, 4), (3, 5)], ids=str)
def test_outer_products_are_summed_by_group(counts, a, b):
    x, y = torch.randn(sum(counts), a), torch.randn(sum(counts), b)
    expected, first = torch.zeros(len(counts), a, b), 0
    for group, count in enumerate(counts):
        for row in range(first, first + count):
            expected[group] += x[row, :, None] * y[row]
        first += count
    torch.testing.assert_close(grouped_outer(x, y, torch.tensor(counts)), expected, atol=1e-5, rtol=1e-5)


def test_autocast_multiplies_in_bfloat16():
    x, weight = tensors([4, 4], 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = grouped_matmul(x, weight, torch.tensor([4, 4]))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), looped(x, weight, [4, 4]), atol=0.15, rtol=0.05)


def test_affine_map_adds_the_bias_of_the_group():
    torch.manual_seed(0)
    linear = GroupedLinear(3, 8, 4)
    with torch.no_grad():
        linear.bias.copy_(torch.arange(12.0).view(3, 4))
    counts = torch.tensor([2, 0, 1])
    x = torch.randn(3, 8)
    expected = looped(x, linear.weight, [2, 0, 1]) + torch.tensor([[0.0, 1, 2, 3], [0, 1, 2, 3], [8, 9, 10, 11]])
    torch.testing.assert_close(linear(x, counts), expected)


def test_an_empty_group_gets_zero_gradient():
    linear = GroupedLinear(3, 8, 4)
    out = linear(torch.randn(3, 8), torch.tensor([2, 0, 1]))
    out.backward(torch.ones(3, 4))
    assert torch.equal(linear.weight.grad[1], torch.zeros(8, 4))
    assert torch.equal(linear.bias.grad, torch.tensor([[2.0] * 4, [0.0] * 4, [1.0] * 4]))


def test_every_group_starts_with_its_own_weights():
    linear = GroupedLinear(4, 8, 8)
    assert all(not torch.equal(linear.weight[0], linear.weight[group]) for group in range(1, 4))


def test_layer_norm_has_scale_and_shift_of_the_group():
    x, scale, shift = torch.randn(5, 8), torch.randn(3, 8), torch.randn(3, 8)
    counts, groups = torch.tensor([2, 0, 3]), [0, 0, 2, 2, 2]
    expected = torch.stack([F.layer_norm(row, (8,), scale[g], shift[g]) for row, g in zip(x, groups, strict=True)])
    torch.testing.assert_close(grouped.grouped_layer_norm(x, scale, shift, counts), expected)
