import numpy as np
import pytest
import torch

from builders import small_model
from syncrec.analysis.gates import gate_usage
from syncrec.data.catalogue import Catalogue

BIAS = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]])


@pytest.mark.parametrize("mixing", ["asymmetric", "no-stop-gradient"])
def test_gates_that_ignore_their_input_give_the_softmax_of_their_bias(tiny_dataset, mixing):
    model = small_model(Catalogue.of(tiny_dataset), mixing=mixing).eval()
    with torch.no_grad():
        model.mixture.gates.maps.weight.zero_()
        model.mixture.gates.maps.bias.copy_(BIAS.flatten())
    queries = tiny_dataset.queries("validation")
    usage = gate_usage(model, tiny_dataset, queries)
    assert usage["experts"] == ["cross 1", "single 1", "single 2"]
    asked = np.bincount(queries.domains, minlength=3).tolist()
    expected = dict(zip(["cross", *tiny_dataset.domains], [len(queries), *asked], strict=True))
    assert {task["task"]: task["num_queries"] for task in usage["tasks"]} == {k: n for k, n in expected.items() if n}
    for task in usage["tasks"]:
        number = ["cross", *tiny_dataset.domains].index(task["task"])
        assert task["weights"] == pytest.approx(BIAS[number].softmax(0).tolist())


def test_an_expert_that_is_never_read_has_no_weight(tiny_dataset):
    model = small_model(Catalogue.of(tiny_dataset), mixing="own-only").eval()
    usage = gate_usage(model, tiny_dataset, tiny_dataset.queries("validation"))
    assert usage["tasks"][0]["weights"] == [1, 0, 0]
    assert all(task["weights"][0] == 0 for task in usage["tasks"][1:])


@pytest.mark.parametrize("name", ["mmoe", "ple"])
def test_models_with_a_gate_a_domain(tiny_dataset, name):
    model = small_model(Catalogue.of(tiny_dataset), name=name).eval()
    usage = gate_usage(model, tiny_dataset, tiny_dataset.queries("validation"))
    assert {task["task"] for task in usage["tasks"]} <= set(tiny_dataset.domains)
    assert all(sum(task["weights"]) == pytest.approx(1) for task in usage["tasks"])


def test_a_model_without_gates_has_no_usage(tiny_dataset):
    model = small_model(Catalogue.of(tiny_dataset), name="sasrec").eval()
    assert gate_usage(model, tiny_dataset, tiny_dataset.queries("validation")) is None
