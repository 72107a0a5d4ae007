"""Layouts against loops over segments and places."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from syncrec.data.packing import pack_segments
from syncrec.nn.dropout import PooledDropout
from syncrec.nn.packed import CausalTransformer, block_causal_mask
from syncrec.nn.segments import SegmentLayout

# Two rows of packed slots: segments 1 and 0 in the first, 3 and 2 in the second.
SEGMENTS = torch.tensor([[1, 1, 1, 0, -1], [3, 3, 2, 2, -1]])
POSITIONS = torch.tensor([[0, 1, 2, 0, 0], [0, 1, 0, 1, 0]])
LENGTHS = st.lists(st.integers(1, 13), max_size=20)


def packed(lengths):
    """Segments and positions of rows packed as a batch is."""
    rows, starts, num_rows = pack_segments(np.asarray(lengths, dtype=np.int64), 16)
    segments, positions = torch.full((max(num_rows, 1), 16), -1), torch.zeros(max(num_rows, 1), 16, dtype=torch.int64)
    for number, (row, start, length) in enumerate(zip(rows, starts, lengths, strict=True)):
        segments[row, start : start + length] = number
        positions[row, start : start + length] = torch.arange(length)
    return segments, positions


def test_each_segment_begins_a_row_in_the_order_of_the_numbers():
    layout = SegmentLayout.of(SEGMENTS, POSITIONS)
    assert layout.segments.tolist() == [[0, -1, -1], [1, 1, 1], [2, 2, -1], [3, 3, -1]]
    is_taken = layout.segments >= 0
    assert layout.slots[is_taken].tolist() == [3, 0, 1, 2, 7, 8, 5, 6]
    assert layout.slots[~is_taken].unique().tolist() == [0]
    assert layout.places.tolist() == [3, 4, 5, 0, 12, 9, 10, 6, 7, 12]


def test_only_segments_that_are_chosen_are_laid_out_and_only_filler_is_left_otherwise():
    is_chosen = (SEGMENTS == 0) | (SEGMENTS == 3) | (SEGMENTS == -1)
    layout = SegmentLayout.of(SEGMENTS, POSITIONS, is_chosen)
    assert layout.slots.tolist() == [[3, 3], [5, 6]]
    assert layout.segments.tolist() == [[0, -1], [1, 1]]
    with pytest.raises(IndexError):
        layout.read(torch.zeros(2, 2, 4), torch.tensor([0]))


def test_short_segments_share_rows_cut_in_halves_and_quarters():
    segments, positions = packed([7, 3, 1, 2, 1, 4, 1])
    layout = SegmentLayout.of(segments, positions, shares_rows=True)
    assert layout.segments.tolist() == [
        [0, 0, 0, 0, 0, 0, 0],
        [5, 5, 5, 5, -1, -1, -1],
        [1, 1, 1, 3, 3, -1, -1],
        [2, 4, 6, -1, -1, -1, -1],
    ]


@pytest.mark.parametrize("shares_rows", [False, True])
@given(lengths=LENGTHS, seed=st.integers(0, 9))
def test_every_chosen_segment_lies_whole_and_in_order_in_one_row(shares_rows, lengths, seed):
    segments, positions = packed(lengths)
    chosen = np.flatnonzero(np.random.default_rng(seed).random(len(lengths)) < 0.6).tolist()
    is_chosen = torch.isin(segments, torch.tensor(chosen, dtype=torch.int64))
    layout = SegmentLayout.of(segments, positions, is_chosen, shares_rows=shares_rows)
    assert layout.slots.shape[1] == max((lengths[n] for n in chosen), default=1)
    if not shares_rows:
        assert len(layout.slots) == len(chosen)
    found = layout.gather(torch.stack([segments, positions], -1))
    for number, segment in enumerate(chosen):
        rows, columns = (layout.segments == number).nonzero(as_tuple=True)
        assert rows.unique().numel() == 1
        assert columns.tolist() == list(range(int(columns[0]), int(columns[0]) + lengths[segment]))
        assert found[rows, columns].tolist() == [[segment, place] for place in range(lengths[segment])]


@given(lengths=LENGTHS)
def test_shared_rows_are_never_more_than_own_rows_and_long_segments_have_one_alone(lengths):
    own, shared = (SegmentLayout.of(*packed(lengths), shares_rows=shares) for shares in (False, True))
    assert shared.slots.shape[1] == own.slots.shape[1]
    assert len(shared.slots) <= len(own.slots)
    # Less than twice its length and a remainder for each segment, and for each cut one row that is not full.
    length = own.slots.shape[1]
    assert shared.slots.numel() <= 2 * (sum(lengths) + len(lengths)) + length * length.bit_length()


@given(lengths=LENGTHS.filter(bool), shares_rows=st.booleans())
def test_what_is_gathered_is_read_back_at_its_slot(lengths, shares_rows):
    segments, positions = packed(lengths)
    values = torch.arange(segments.numel() * 2.0).view(*segments.shape, 2)
    layout = SegmentLayout.of(segments, positions, shares_rows=shares_rows)
    asked = (segments.flatten() >= 0).nonzero().squeeze(1).flip(0)
    assert torch.equal(layout.read(layout.gather(values), asked), values.flatten(0, 1)[asked])


def test_no_gradient_flows_through_free_places_or_left_segments():
    values = torch.ones(2, 5, 1, requires_grad=True)
    layout = SegmentLayout.of(SEGMENTS, POSITIONS, SEGMENTS != 2)
    layout.read(layout.gather(values), torch.tensor([1, 2, 3])).sum().backward()
    assert values.grad.flatten().tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("shares_rows", [False, True])
@pytest.mark.parametrize("asks", [False, True])
def test_a_transformer_gives_the_same_in_every_layout(shares_rows, asks):
    torch.manual_seed(0)
    segments, positions = packed([9, 3, 1, 2, 1, 4, 1, 13, 6])
    encoder = CausalTransformer(dim=8, num_layers=2, num_heads=2, hidden_dim=16, dropout=PooledDropout(0.0))
    x, allowed = torch.randn(*segments.shape, 8), block_causal_mask(segments)
    expected = encoder(x, torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)).flatten(0, 1)
    layout = SegmentLayout.of(segments, positions, segments != 4, shares_rows=shares_rows)
    asked = ((segments.flatten() >= 0) & (segments.flatten() != 4)).nonzero().squeeze(1)
    if asks:
        found = encoder(layout.gather(x), layout.mask, layout.places[asked])
    else:
        found = layout.read(encoder(layout.gather(x), layout.mask), asked)
    torch.testing.assert_close(found, expected[asked], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shares_rows", [False, True])
@pytest.mark.parametrize("shape", [(0, 1), (2, 4)])
def test_no_segments_give_no_rows(shares_rows, shape):
    nothing = torch.full(shape, -1)
    layout = SegmentLayout.of(nothing, torch.zeros_like(nothing), shares_rows=shares_rows)
    assert layout.slots.shape == (0, 1)
    assert layout.mask.shape == (0, 1, 1, 1)
    assert layout.gather(torch.zeros(*shape, 3)).shape == (0, 1, 3)
    assert layout.read(torch.zeros(0, 1, 3), torch.zeros(0, dtype=torch.int64)).shape == (0, 3)
