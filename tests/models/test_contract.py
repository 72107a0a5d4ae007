"""Every registered model runs the contract."""

import numpy as np
import pytest
import torch
from contract import ModelContract

from builders import objective_for, small_config, small_model
from syncrec.data.catalogue import Catalogue
from syncrec.data.packing import BatchPacker, query_batches, training_batches, training_users
from syncrec.models.batch import TensorBatch
from syncrec.models.registry import MODELS
from syncrec.nn.embedding import PositionEmbedding

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", sorted(MODELS))
class TestRegisteredModel(ModelContract):
    pass


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_tells_what_it_is_and_where_it_comes_from(name):
    assert MODELS[name].description
    assert MODELS[name].source


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_answer_depends_on_a_position_that_training_never_asks_for(name, tiny_dataset):
    """The longest histories are longer by one or two events when they are asked about."""
    catalogue = Catalogue.of(tiny_dataset)
    model = small_model(catalogue, name=name, max_length=50)
    model.observe(tiny_dataset, np.asarray(tiny_dataset.train_end))
    config = small_config(model={"name": name, "max_length": 50})
    objective, packer = objective_for(config, catalogue), BatchPacker(catalogue, 50, model.views)
    for seed in range(4):
        for packed in training_batches(tiny_dataset, packer, training_users(tiny_dataset), 60, seed, 0):
            batch = TensorBatch.of(packed, CPU)
            objective(model, batch, torch.Generator().manual_seed(seed)).total.backward()
    tables = [part for part in model.modules() if isinstance(part, PositionEmbedding)]
    model.eval()
    queries = [TensorBatch.of(b, CPU) for b, _ in query_batches(tiny_dataset, packer, tiny_dataset.queries("test"), 99)]
    before = [model.encode(batch) for batch in queries]
    with torch.no_grad():
        for table in tables:
            table.weight[table.weight.grad.abs().sum(1) == 0] = 99.0
    assert any(bool((table.weight == 99).any()) for table in tables)
    for batch, answers in zip(queries, before, strict=True):
        for answer, found in model.encode(batch).items():
            assert torch.equal(found, answers[answer])
