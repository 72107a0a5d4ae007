import pytest
import torch
from plans import workload

from syncrec.nn.dropout import PooledDropout
from syncrec.nn.packed import CausalTransformer, block_causal_mask
from syncrec.planning.memory import ITEM_PARTS, Layout, block_activation_bytes, memory_parts, validation_bytes
from syncrec.planning.workload import ViewShape


def kept_bytes(run, *, without):
    """Bytes of the storages that autograd keeps for the backward pass of `run`, those of `without` aside."""
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = run()
    known = {tensor.untyped_storage().data_ptr() for tensor in without}
    del out
    return sum(size for place, size in storages.items() if place not in known)


@pytest.mark.parametrize(("dim", "hidden", "length", "layers"), [(16, 32, 20, 1), (48, 48, 33, 3)])
def test_a_layer_keeps_what_the_formula_says(dim, hidden, length, layers):
    rows, heads = 6, 2
    dropout = PooledDropout(0.3)
    dropout.refill(rows * length * max(dim, hidden))
    expert = CausalTransformer(dim, layers, heads, hidden, dropout)
    allowed = block_causal_mask(torch.zeros(rows, length, dtype=torch.long))
    mask = torch.zeros(allowed.shape).masked_fill_(~allowed, -torch.inf)
    x = torch.randn(rows, length, dim, requires_grad=True)
    kept = kept_bytes(lambda: expert(x, mask), without=[*expert.parameters(), mask, dropout._pool])
    view = ViewShape(rows, length, rows * length)
    final = view.slots * 4 * (dim + 2)
    expected = layers * block_activation_bytes(view, dim, hidden, heads, Layout()) + final
    assert kept == pytest.approx(expected, rel=0.02)


def test_tables_by_hand():
    plan = workload("model.dim=16", "loss.kind=sampled", items=200_000, domains=4)
    parts = memory_parts(plan, Layout())
    assert parts["item table"] == (200_000 + 4 + 1) * 16 * 4
    assert parts["item moments"] == 2 * parts["item table"]
    assert parts["item gradients"] < parts["item table"]
    dense = memory_parts(workload("model.dim=16", items=9000), Layout())
    assert dense["item gradients"] == 2 * dense["item table"]


def test_shards_divide_the_table_and_nothing_else():
    plan = workload("loss.kind=sampled", items=50_000, processes=4)
    whole, share = (memory_parts(plan, Layout(shards=shards)) for shards in (1, 4))
    for name in ITEM_PARTS:
        assert share[name] == pytest.approx(whole[name] / 4)
    assert share["activations"] == whole["activations"]
    assert "vectors exchanged" in share
    assert "vectors exchanged" not in whole


def test_half_precision_keeps_less():
    plan = workload()
    low, high = (memory_parts(plan, Layout("cuda", kind))["activations"] for kind in ("bfloat16", "float32"))
    assert 0.4 * high < low < high


@pytest.mark.parametrize(
    "larger",
    [
        {"items": 18_000},
        {"events": 120_000},
        {"users": 4000, "events": 120_000},
    ],
)
def test_more_of_anything_takes_no_less_memory(larger):
    before, after = (sum(memory_parts(workload(**sizes), Layout()).values()) for sizes in ({}, larger))
    assert after >= before


def test_the_logits_of_the_full_softmax_are_bounded_and_the_gradients_of_items_are_not():
    small, large = (memory_parts(workload(items=n), Layout())["logits and loss"] for n in (10_000_000, 20_000_000))
    assert large - small == pytest.approx(4 * 10_000_000 * 64 * 4, rel=0.01)


def test_validation_holds_the_vectors_of_all_users_under_both_answers():
    assert validation_bytes(workload("model.dim=16")) == (2 * 2000 + 9000) * 16 * 4
    assert validation_bytes(workload("model.dim=16", processes=2)) == (2000 + 9000) * 16 * 4
