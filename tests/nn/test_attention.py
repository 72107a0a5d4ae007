"""The path for training on short rows against torch's attention: values and gradients."""

import pytest
import torch

from syncrec.nn import attention as module
from syncrec.nn.attention import packed_attention
from syncrec.nn.packed import block_causal_mask


def inputs(rows=3, length=7, heads=2, dim=4):
    torch.manual_seed(0)
    x = torch.randn(rows, length, 3 * heads * dim, requires_grad=True)
    segments = torch.tensor([[0, 0, 0, 1, 1, 2, -1], [3] * 7, [4, 4, 5, 5, 5, 5, 5]])[:rows, :length]
    allowed = block_causal_mask(segments)
    return x, torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)


def looped(x, mask, heads):
    """A slot and a head at a time."""
    rows, length, width = x.shape
    dim = width // (3 * heads)
    out = torch.zeros(rows, length, heads * dim)
    for row in range(rows):
        for head in range(heads):
            query, key, value = (x[row, :, (part * heads + head) * dim :][:, :dim] for part in range(3))
            for slot in range(length):
                scores = torch.stack([query[slot] @ key[j] / dim**0.5 + mask[row, 0, slot, j] for j in range(length)])
                out[row, slot, head * dim : (head + 1) * dim] = scores.softmax(0) @ value
    return out


@pytest.mark.parametrize("heads", [1, 2, 3])
def test_short_rows_equal_the_loops_with_gradients(heads):
    x, mask = inputs(heads=heads)
    found, expected = packed_attention(x, mask, heads), looped(x, mask, heads)
    assert type(found.grad_fn).__name__ == "_ShortRowsBackward"
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    factor = torch.randn(found.shape)
    (have,) = torch.autograd.grad((found * factor).sum(), x)
    (want,) = torch.autograd.grad((expected * factor).sum(), x)
    torch.testing.assert_close(have, want, atol=1e-6, rtol=1e-5)


def test_long_rows_and_answers_without_gradient_take_the_attention_of_torch(monkeypatch):
    x, mask = inputs()
    short = packed_attention(x, mask, 2)
    torch.testing.assert_close(packed_attention(x.detach(), mask, 2), short, atol=1e-6, rtol=1e-5)
    monkeypatch.setattr(module, "_LONGEST_KEPT", 6)
    long = packed_attention(x, mask, 2)
    assert type(long.grad_fn).__name__ != "_ShortRowsBackward"
    torch.testing.assert_close(long, short, atol=1e-6, rtol=1e-5)


def test_autocast_leaves_attention_in_float32():
    x, mask = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        found = packed_attention(x.bfloat16(), mask, 2)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, packed_attention(x, mask, 2), atol=0.05, rtol=0.02)
