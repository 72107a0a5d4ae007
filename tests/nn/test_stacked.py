"""Stacked experts against the experts one by one."""

import pytest
import torch

from builders import CPU, DAY_S, FIRST_TIME, catalogue_of, query_batch, random_histories, shake, small_model
from syncrec.models.batch import TensorBatch
from syncrec.nn.dropout import PooledDropout
from syncrec.nn.mixture import make_experts
from syncrec.nn.packed import block_causal_mask
from syncrec.nn.stacked import StackedExperts


@pytest.mark.parametrize("count", [1, 3])
def test_it_gives_what_each_expert_gives(count):
    experts = make_experts(count, 8, 1, 2, 12, PooledDropout(0.5)).eval()
    shake(experts)
    torch.manual_seed(3)
    x = torch.randn(2, 5, 8)
    allowed = block_causal_mask(torch.tensor([[0, 0, 0, 1, 1], [2, 2, 2, 2, -1]]))
    mask = torch.zeros(allowed.shape).masked_fill_(~allowed, -torch.inf)
    asked = torch.tensor([2, 4, 8, 0])
    with torch.no_grad():
        found = StackedExperts(list(experts))(x, mask, asked)
        for number, expert in enumerate(experts):
            torch.testing.assert_close(found[number], expert(x, mask, asked), atol=1e-5, rtol=1e-5)


def test_experts_of_several_layers_are_refused():
    with pytest.raises(ValueError, match="experts of one layer can be stacked"):
        StackedExperts(list(make_experts(2, 8, 2, 2, 12, PooledDropout(0.0))))


@pytest.mark.parametrize("mixing", ["asymmetric", "no-stop-gradient", "no-separation", "own-only"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_frozen_model_answers_as_before(mixing, num_layers):
    catalogue = catalogue_of(7, 5, 9)
    model = small_model(catalogue, mixing=mixing, num_layers=num_layers).eval()
    shake(model)
    histories = random_histories(catalogue, [0, 1, 6, 4, 9])
    packed, _ = query_batch(
        catalogue, histories, [0, 2, 1, 1, 0], 6, [[FIRST_TIME + DAY_S * i for i in range(len(h))] for h in histories]
    )
    batch = TensorBatch.of(packed, CPU, only_asked=True)
    keys = set(model.state_dict())
    with torch.no_grad():
        before = model.encode(batch)
        model.freeze()
        after = model.encode(batch)
    assert set(model.state_dict()) == keys
    for name in before:
        torch.testing.assert_close(after[name], before[name], atol=1e-5, rtol=1e-5)
