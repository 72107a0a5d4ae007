import torch

from syncrec.nn.dropout import PooledDropout
from syncrec.nn.packed import CausalTransformer, block_causal_mask, block_mask


def additive(allowed):
    return torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)


def test_mask_lets_a_slot_read_itself_and_earlier_slots_of_its_segment():
    allowed = block_causal_mask(torch.tensor([[4, 4, 7, 7, 7, -1]]))[0, 0].int()
    assert allowed.tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_mask_of_both_ways_lets_a_slot_read_its_whole_segment():
    allowed = block_mask(torch.tensor([[4, 4, 7, 7, 7, -1]]))
    assert allowed.shape == (1, 1, 6, 6)
    assert allowed[0, 0].int().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_two_segments_in_a_row_equal_two_rows():
    torch.manual_seed(0)
    encoder = CausalTransformer(dim=8, num_layers=2, num_heads=2, hidden_dim=16, dropout=PooledDropout(0.0))
    first, second = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    packed = encoder(torch.cat([first, second], 1), additive(block_causal_mask(torch.tensor([[0] * 3 + [1] * 4]))))
    alone = [encoder(x, additive(block_causal_mask(torch.zeros(1, x.shape[1])))) for x in (first, second)]
    torch.testing.assert_close(packed, torch.cat(alone, 1), atol=1e-6, rtol=1e-5)


def test_attention_equals_torch_with_a_plain_triangle():
    torch.manual_seed(0)
    encoder = CausalTransformer(dim=8, num_layers=1, num_heads=2, hidden_dim=16, dropout=PooledDropout(0.0))
    block = encoder.blocks[0]
    theirs = torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0, "relu", batch_first=True, norm_first=True)
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(block.query_key_value.weight)
        theirs.self_attn.in_proj_bias.copy_(block.query_key_value.bias)
        theirs.self_attn.out_proj.load_state_dict(block.attention_out.state_dict())
        theirs.linear1.load_state_dict(block.feedforward_in.state_dict())
        theirs.linear2.load_state_dict(block.feedforward_out.state_dict())
    x = torch.randn(2, 5, 8)
    triangle = torch.nn.Transformer.generate_square_subsequent_mask(5)
    expected = encoder.norm(theirs(x, src_mask=triangle, is_causal=True))
    found = encoder(x, additive(block_causal_mask(torch.zeros(2, 5))))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
