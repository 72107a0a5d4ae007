"""Every registered model runs the contract."""

import numpy as np
import pytest
import torch
from contract import ModelContract

from builders import (
    catalogue_of,
    in_given_order,
    objective_for,
    query_batch,
    shake,
    small_config,
    small_model,
    training_batch,
)
from prepared import arrays_of, write
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


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"bert4rec"}))  # which is never asked so
@pytest.mark.parametrize("positions", ["end", "both"])
def test_a_question_is_the_last_target_of_training_where_positions_count_from_the_end(name, positions):
    catalogue = catalogue_of(5, 1, 7)
    model = small_model(catalogue, name=name, positions=positions).eval()
    shake(model)
    history = [0, 6, 1, 12, 2, 7, 3]
    packed, batch = training_batch(catalogue, [history], 9)
    trained = {answer: in_given_order(packed, found)[-1] for answer, found in model.encode(batch).items()}
    _, question = query_batch(catalogue, [history[:-1]], [0], 9)
    for answer, found in model.encode(question).items():
        torch.testing.assert_close(found[0], trained[answer], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("positions", ["start", "end", "both"])
def test_no_answer_depends_on_a_position_that_training_never_asks_for(name, positions, tiny_dataset):
    """The longest histories are longer by one or two events when they are asked about."""
    catalogue = Catalogue.of(tiny_dataset)
    model = small_model(catalogue, name=name, max_length=50, positions=positions)
    model.observe(tiny_dataset, np.asarray(tiny_dataset.train_end))
    config = small_config(model={"name": name, "max_length": 50, "positions": positions})
    objective, packer = objective_for(config, catalogue), BatchPacker(catalogue, 50, model.views)
    for seed in range(4):
        for packed in training_batches(tiny_dataset, packer, training_users(tiny_dataset), 60, seed, 0):
            batch = TensorBatch.of(packed, CPU)
            objective(model, batch, torch.Generator().manual_seed(seed)).total.backward()
    parts = [part for part in model.modules() if isinstance(part, PositionEmbedding)]
    tables = [table for part in parts for table in (part.from_start, part.from_end) if table is not None]
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


@pytest.mark.parametrize("split", ["validation", "test"])
def test_known_are_the_items_before_the_end_of_training(tmp_path, split):
    dataset = write(tmp_path / "dataset", arrays_of([[0, 1, 9, 8], [0, 1, 2, 7]], None), "leave-one-out")
    model = small_model(Catalogue.of(dataset))
    assert model.is_known.all()
    model.observe(dataset, np.asarray(dataset.train_end if split == "validation" else dataset.validation_end))
    assert np.flatnonzero(model.known_items).tolist() == [0, 1] + ([2, 9] if split == "test" else [])


def test_positions_count_from_either_end_of_a_segment():
    _, batch = training_batch(catalogue_of(5, 1, 7), [[0, 6, 1, 12], [2], [3, 4]], 9)
    view = batch.cross
    places = {}
    for segment, from_start, from_end in zip(
        view.segments.flatten().tolist(),
        view.positions.flatten().tolist(),
        view.positions_from_end.flatten().tolist(),
        strict=True,
    ):
        places.setdefault(segment, []).append((from_start, from_end))
    places.pop(-1, None)
    expected = [[(0, 0), (1, 3), (2, 2), (3, 1)], [(0, 0)], [(0, 0), (1, 1)]]
    assert sorted(places.values()) == sorted(expected)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_draws_before_the_loss_are_as_many_in_every_process(name, tiny_dataset):
    """Negatives are drawn after them, from the same stream, and must be the same everywhere."""
    model = small_model(Catalogue.of(tiny_dataset), name=name)
    model.observe(tiny_dataset, np.asarray(tiny_dataset.train_end))
    packer, users, after = model.packer(), training_users(tiny_dataset), set()
    for share in ((0, 1), (0, 2), (1, 2)):
        packed = next(training_batches(tiny_dataset, packer, users, len(users), 0, 0, share=share))
        generator = torch.Generator().manual_seed(0)
        batch = model.training_questions(TensorBatch.of(packed, CPU), generator)
        model.encode_to_train(batch, generator)
        after.add(int(torch.randint(2**62, (), generator=generator)))
    assert len(after) == 1
