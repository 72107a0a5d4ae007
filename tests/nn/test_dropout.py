import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from syncrec.nn.dropout import ByteDropout

SHAPES = [(0,), (1,), (7,), (3, 5), (2, 3, 8)]


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9, 0.998])
def test_keep_rate_is_one_minus_p_to_the_nearest_256th(p):
    torch.manual_seed(0)
    out = ByteDropout(p)(torch.ones(400_000))
    keep = 1 - min(round(p * 256), 255) / 256
    tolerance = 5 * (keep * (1 - keep) / 400_000) ** 0.5
    assert abs(float((out != 0).float().mean()) - keep) < tolerance


@given(st.floats(0, 0.999))
def test_kept_numbers_are_scaled_so_that_the_mean_stays(p):
    out = ByteDropout(p)(torch.full((64,), 2.0))
    threshold = min(round(p * 256), 255)
    kept = out[out != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 2.0 * 256 / (256 - threshold)))


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_passes_where_the_number_passed(shape):
    torch.manual_seed(1)
    x = torch.ones(shape, requires_grad=True)
    out = ByteDropout(0.5)(x)
    out.backward(torch.ones(shape))
    assert torch.equal(x.grad, out.detach())


def test_gradient_equals_the_finite_difference():
    x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)

    def dropped(x):
        torch.manual_seed(3)
        return ByteDropout(0.4)(x)

    assert torch.autograd.gradcheck(dropped, (x,))


@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_is_the_identity(shape):
    x = torch.randn(shape)
    assert ByteDropout(0.7).eval()(x) is x


@pytest.mark.parametrize("p", [0.0, 0.001])
def test_a_rate_that_rounds_to_zero_is_the_identity(p):
    x = torch.randn(9)
    assert ByteDropout(p)(x) is x


def test_draws_follow_the_default_generator():
    x = torch.ones(1000)
    draws = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        draws.append(ByteDropout(0.5)(x))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_input_is_left_as_it_was():
    x = torch.ones(100)
    ByteDropout(0.5)(x)
    assert torch.equal(x, torch.ones(100))


def test_strided_and_half_precision_inputs_keep_shape_and_type():
    x = torch.randn(6, 4).T
    assert ByteDropout(0.5)(x).shape == (4, 6)
    assert ByteDropout(0.5)(x.bfloat16()).dtype == torch.bfloat16


def test_neighbours_and_bytes_of_a_word_are_dropped_independently():
    torch.manual_seed(0)
    kept = (ByteDropout(0.5)(torch.ones(80_000)) != 0).float().view(-1, 8)
    correlation = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlation.abs().max() < 0.05
