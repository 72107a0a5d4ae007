import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from syncrec.nn.dropout import PooledDropout

SHAPES = [(0,), (1,), (7,), (3, 5), (2, 3, 8)]


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9, 0.998])
def test_keep_rate_is_one_minus_p_to_the_nearest_256th(p):
    torch.manual_seed(0)
    out = PooledDropout(p)(torch.ones(400_000))
    keep = 1 - min(round(p * 256), 255) / 256
    tolerance = 5 * (keep * (1 - keep) / 400_000) ** 0.5
    assert abs(float((out != 0).float().mean()) - keep) < tolerance


@given(st.floats(0, 0.999))
def test_kept_numbers_are_scaled_so_that_the_mean_stays(p):
    out = PooledDropout(p)(torch.full((64,), 2.0))
    threshold = min(round(p * 256), 255)
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 2.0 * 256 / (256 - threshold)))


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_passes_where_the_number_passed(shape):
    torch.manual_seed(1)
    x = torch.ones(shape, requires_grad=True)
    out = PooledDropout(0.5)(x)
    out.backward(torch.ones(shape))
    assert torch.equal(x.grad, out.detach())


def test_gradient_equals_the_finite_difference():
    x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)

    def dropped(x):
        torch.manual_seed(3)
        return PooledDropout(0.4)(x)

    assert torch.autograd.gradcheck(dropped, (x,))


@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_is_the_identity(shape):
    x = torch.randn(shape)
    assert PooledDropout(0.7).eval()(x) is x


@pytest.mark.parametrize("p", [0.0, 0.001])
def test_a_rate_that_rounds_to_zero_is_the_identity(p):
    x = torch.randn(9)
    assert PooledDropout(p)(x) is x


def test_draws_follow_the_default_generator():
    x = torch.ones(1000)
    draws = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        draws.append(PooledDropout(0.5)(x))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_input_is_left_as_it_was():
    x = torch.ones(100)
    PooledDropout(0.5)(x)
    assert torch.equal(x, torch.ones(100))


def test_strided_and_half_precision_inputs_keep_shape_and_type():
    x = torch.randn(6, 4).T
    assert PooledDropout(0.5)(x).shape == (4, 6)
    assert PooledDropout(0.5)(x.bfloat16()).dtype == torch.bfloat16


def test_neighbours_and_bytes_of_a_word_are_dropped_independently():
    torch.manual_seed(0)
    kept = (PooledDropout(0.5)(torch.ones(80_000)) != 0).float().view(-1, 8)
    correlation = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlation.abs().max() < 0.05


def pooled(p=0.5, largest=4000, seed=0):
    torch.manual_seed(seed)
    dropout = PooledDropout(p)
    dropout.refill(largest)
    return dropout


def test_a_pool_keeps_the_rate_and_gives_another_mask_at_every_call():
    dropout = pooled(0.25)
    masks = torch.stack([dropout(torch.ones(4000)) != 0 for _ in range(50)]).float()
    assert abs(float(masks.mean()) - 0.75) < 0.02
    correlation = torch.corrcoef(masks) - torch.eye(50)
    assert correlation.abs().max() < 0.12


def test_a_refilled_pool_gives_other_masks_and_the_same_seed_the_same():
    first, again, other = (pooled(seed=seed)(torch.ones(500)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    dropout = pooled()
    state = torch.random.get_rng_state()
    before = dropout(torch.ones(4000))
    dropout.refill(4000)
    torch.random.set_rng_state(state)
    assert not torch.equal(dropout(torch.ones(4000)), before)


def test_a_refill_between_forward_and_backward_does_not_disturb_the_gradient():
    dropout, x = pooled(), torch.ones(4000, requires_grad=True)
    out = dropout(x)
    dropout.refill(4000)
    out.backward(torch.ones(4000))
    assert torch.equal(x.grad, out.detach())


def test_a_mask_larger_than_the_pool_is_drawn_for_itself():
    out = pooled(largest=10)(torch.ones(1000))
    assert 300 < int((out != 0).sum()) < 700


@pytest.mark.parametrize("is_pooled", [False, True])
def test_adding_equals_the_sum_of_both_with_gradients(is_pooled):
    dropout = pooled(0.4) if is_pooled else PooledDropout(0.4)
    base, x = torch.randn(5, 8, requires_grad=True), torch.randn(5, 8, requires_grad=True)
    weight = torch.randn(5, 8)

    def gradients(function):
        torch.manual_seed(3)
        out = function()
        return (out, *torch.autograd.grad((out * weight).sum(), (base, x)))

    for have, want in zip(gradients(lambda: dropout.add(base, x)), gradients(lambda: base + dropout(x)), strict=True):
        torch.testing.assert_close(have, want)


def test_adding_in_evaluation_is_the_plain_sum():
    base, x = torch.randn(6), torch.randn(6)
    assert torch.equal(PooledDropout(0.7).eval().add(base, x), base + x)
