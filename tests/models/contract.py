"""What every model owes to the rest of the package. A model runs it in three lines:

@pytest.mark.parametrize("name", ["my-model"])
class TestMyModel(ModelContract):
    pass
"""

import copy
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import (
    catalogue_of,
    in_given_order,
    objective_for,
    query_batch,
    random_histories,
    shake,
    small_config,
    small_model,
    training_batch,
)
from syncrec.checkpoint import load_checkpoint, load_module, save_checkpoint
from syncrec.data.packing import history_batch
from syncrec.models.interface import SequentialModel
from syncrec.models.scoring import encode_packed

CATALOGUE = catalogue_of(5, 1, 7)
T = 6
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def build(name, seed=0, **model):
    model = small_model(CATALOGUE, seed, name=name, **model)
    shake(model)
    return model


def outputs(model, histories, seed=0):
    """Answers to every event of `histories` as a target, in the order of the events; same seed, same dropout.

    Those of a training batch, or, from a model that is no causal one, to the questions after the events before.
    """
    torch.manual_seed(seed)
    if not model.is_causal:
        prefixes = [history[:t] for history in histories for t in range(len(history))]
        return asked(model, prefixes, [domain_of(event) for history in histories for event in history])
    packed, batch = training_batch(CATALOGUE, histories, T)
    return {name: in_given_order(packed, y) for name, y in model.encode(batch).items()}


def asked(model, histories, domains):
    """Answers after all events of each history."""
    packed, batch = query_batch(CATALOGUE, histories, domains, T)
    return {name: in_given_order(packed, y) for name, y in model.encode(batch).items()}


def posed(model, histories, seed=0):
    """What a model is asked of `histories` in training."""
    batch = training_batch(CATALOGUE, histories, T)[1]
    return model.training_questions(batch, torch.Generator().manual_seed(seed))


def domain_of(item):
    return int(np.searchsorted(CATALOGUE.offsets, item, side="right")) - 1


def learnable_histories():
    """Users who walk through each domain in one order, but change domains differently: every next item follows."""
    walks = [[2, 0, 4, 1], [5], [9, 6, 12, 8]]
    turns = [[0, 2, 0, 2, 1, 0, 2], [2, 2, 1, 0, 0, 2, 0], [1, 0, 2, 0, 2, 0, 2]]
    histories = []
    for turn in turns:
        place = [0, 0, 0]
        history = []
        for domain in turn:
            history.append(walks[domain][place[domain]])
            place[domain] += 1
        histories.append(history)
    return histories


def _learns(model, value):
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, retain_graph=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in found)


class ModelContract:
    """`name` is a registered model."""

    def test_gives_one_finite_row_a_target_for_every_answer(self, name):
        model = build(name)
        assert isinstance(model, SequentialModel)
        assert set(model.answer_names) <= {"cross", "single"}
        found = outputs(model, random_histories(CATALOGUE, [1, 7, 4]))
        assert set(found) == set(model.answer_names)
        for rows in found.values():
            assert rows.shape == (12, model.config.dim)
            assert rows.dtype == torch.float32
            assert torch.isfinite(rows).all()
        assert model.item_vectors().shape == (CATALOGUE.num_items, model.config.dim)

    @pytest.mark.parametrize("score", ["dot", "cosine"])
    def test_cosine_scores_are_bounded_by_the_temperature(self, name, score):
        model = build(name, score=score, temperature=0.25)
        for rows in outputs(model, random_histories(CATALOGUE, [7, 4])).values():
            scores = model.query_vectors(rows) @ model.item_vectors().T
            if score == "cosine":
                assert scores.abs().max() <= 4 + 1e-4
            else:
                torch.testing.assert_close(scores, rows @ model.embedding.items.weight[: CATALOGUE.num_items].T)

    @pytest.mark.parametrize("score", ["dot", "cosine"])
    def test_vectors_of_some_items_are_rows_of_all(self, name, score):
        model = build(name, score=score)
        chosen = torch.tensor([[3, 0], [12, 3]])
        torch.testing.assert_close(model.item_vectors(chosen), model.item_vectors()[chosen])

    def test_a_question_skips_items_that_training_has_not_seen(self, name):
        histories = [[0, 6, 1, 12], [1, 6], [0, 1], []]
        gaps = [[0, 6, 1, 12], [3, 1, 8, 6], [0, 1, 3, 8], [8, 3]]

        def answers(model, asked):
            times = [np.arange(len(history)) for history in asked]
            packed = history_batch(
                model.packer(), [np.array(h, dtype=np.int64) for h in asked], np.array([0, 2, 0, 2]), times
            )
            return {name: in_given_order(packed, found) for name, found in encode_packed(model, packed).items()}

        model = build(name, time=False).eval()
        model.is_known[[3, 8]] = False
        for answer, expected in answers(model, histories).items():
            torch.testing.assert_close(answers(model, gaps)[answer], expected, **CLOSE)
        reading = build(name, time=False, unknown_items="read").eval()
        assert "is_known" not in reading.state_dict()
        for answer, expected in answers(reading, histories).items():
            assert not torch.allclose(answers(reading, gaps)[answer], expected, **CLOSE)

    @pytest.mark.parametrize("is_training", [False, True], ids=["evaluation", "training"])
    def test_a_later_item_never_changes_an_earlier_output(self, name, is_training):
        model = build(name, dropout=0.4 if is_training else 0.0).train(is_training)
        history = [0, 6, 1, 12, 2, 7, 3]
        before = outputs(model, [history])
        for place in range(len(history)):
            start, stop = CATALOGUE.offsets[domain_of(history[place]) :][:2]
            changed = list(history)
            changed[place] = start + (history[place] - start + 1) % (stop - start)
            after = outputs(model, [changed])
            for answer in model.answer_names:
                assert torch.equal(after[answer][: place + 1], before[answer][: place + 1])

    def test_a_later_item_of_another_domain_never_changes_an_earlier_output(self, name):
        model = build(name, positions="start").eval()
        history = [0, 6, 1, 12, 2, 7, 3]
        before = outputs(model, [history])
        for place in range(len(history)):
            for item in (0, 5, 11):
                after = outputs(model, [[*history[:place], item, *history[place + 1 :]]])
                for answer in model.answer_names:
                    torch.testing.assert_close(after[answer][:place], before[answer][:place], **CLOSE)

    def test_an_event_of_another_community_never_changes_an_answer(self, name):
        apart = replace(CATALOGUE, communities=(0, 1, 0))
        model = small_model(apart, name=name).eval()
        shake(model)
        histories, others = [[0, 5, 6, 1, 12], [2, 5, 5]], [[5, 0, 6, 1, 5, 5, 12], [2]]  # all of their last T events
        answers = []
        for changed in (histories, others):
            packed, batch = query_batch(apart, changed, [0, 2], 9, [[0] * len(history) for history in changed])
            answers.append({answer: in_given_order(packed, y) for answer, y in model.encode(batch).items()})
        for answer in model.answer_names:
            torch.testing.assert_close(answers[0][answer], answers[1][answer], **CLOSE)

    def test_a_domain_that_reads_itself_alone_has_one_answer_and_one_network_that_learns_it(self, name):
        apart = replace(CATALOGUE, communities=(0, 1, 0))
        model = small_model(apart, name=name)
        shake(model)
        packed, batch = training_batch(apart, [[0, 5, 6, 1, 12, 5], [2, 5, 5]], T)
        if len(model.answer_names) == 1:
            assert model.is_alone.tolist() == [False, True, False]
            return
        answers = model.encode(batch)
        is_alone = torch.as_tensor(packed.domains == 1)
        assert is_alone.any()
        assert torch.equal(answers["cross"][is_alone], answers["single"][is_alone])
        assert not torch.isclose(answers["cross"][~is_alone], answers["single"][~is_alone]).all(1).any()
        assert not _learns(model, answers["cross"][is_alone].square().sum())
        assert _learns(model, answers["single"][is_alone].square().sum())

    def test_no_gradient_flows_from_an_output_to_a_later_item(self, name):
        model = build(name).eval()
        history = [0, 6, 1, 12, 2, 7, 3]
        for answer in model.answer_names:
            for place in range(len(history)):
                (gradient,) = torch.autograd.grad(
                    outputs(model, [history])[answer][place].square().sum(),
                    model.embedding.items.weight,
                    allow_unused=True,
                )
                moved = set(gradient.abs().sum(1).nonzero().flatten().tolist())
                assert moved.isdisjoint(history[place:])

    def test_the_answers_use_the_history(self, name):
        model = build(name).eval()
        before, after = (outputs(model, [[first, 6, 1, 12, 2, 7, 3]]) for first in (0, 4))
        for answer in model.answer_names:
            assert not torch.allclose(after[answer][-1], before[answer][-1], **CLOSE)

    def test_other_users_and_their_packing_change_nothing(self, name):
        model = build(name).eval()
        history = [0, 6, 5, 12, 2]
        alone = outputs(model, [history])
        for seed, lengths in enumerate([[7], [1, 1, 1], [7] * 9, [3, 5, 7, 2, 6]]):
            others = random_histories(CATALOGUE, lengths, seed)
            first, last = outputs(model, [history, *others]), outputs(model, [*others, history])
            for answer in model.answer_names:
                torch.testing.assert_close(first[answer][: len(history)], alone[answer], **CLOSE)
                torch.testing.assert_close(last[answer][-len(history) :], alone[answer], **CLOSE)

    def test_no_gradient_flows_to_other_users(self, name):
        model = build(name).eval()
        for answer in model.answer_names:
            (gradient,) = torch.autograd.grad(
                outputs(model, [[0, 6, 1, 7], [2, 8, 3, 9], [4, 10, 4, 11]])[answer][4:8].square().sum(),
                model.embedding.items.weight,
            )
            moved = gradient.abs().sum(1)
            assert moved[[2, 8, 3]].sum() > 0
            assert moved[[0, 6, 1, 7, 9, 4, 10, 11]].sum() == 0

    def test_questions_of_training_are_some_of_the_targets_by_domain(self, name):
        model, histories = build(name), random_histories(CATALOGUE, [7, 1, 4, 7])
        batch, found = training_batch(CATALOGUE, histories, T)[1], posed(model, histories)
        whole, part = (Counter(zip(b.users.tolist(), b.targets.tolist(), strict=True)) for b in (batch, found))
        assert part == whole if model.is_causal else part < whole
        assert found.domains.tolist() == sorted(domain_of(item) for item in found.targets.tolist())
        assert found.domain_counts.tolist() == [found.domains.tolist().count(d) for d in range(3)]
        assert len(set(found.cross_slots.tolist())) == len(found)

    def test_no_answer_in_training_sees_the_event_it_is_asked_for(self, name):
        model = build(name)
        for seed in range(3):
            batch = posed(model, [[0, 6, 1, 12, 2, 7, 3], [8, 4, 10, 5, 9]], seed)
            for rows in model.encode(batch).values():
                for target, row in zip(batch.targets.tolist(), rows, strict=True):
                    asked = row.square().sum()
                    (gradient,) = torch.autograd.grad(asked, model.embedding.items.weight, retain_graph=True)
                    assert not gradient[target].any()

    def test_a_question_gets_the_answer_of_the_training_batch_at_the_same_position(self, name):
        model = build(name, positions="start").eval()
        if not model.is_causal:
            pytest.skip("its training batches are not answered as they are")
        history = [0, 6, 1, 5, 2, 7, 3]
        trained = outputs(model, [history])
        prefixes = [history[:t] for t in range(len(history))]
        questions = asked(model, prefixes, [domain_of(e) for e in history])
        for answer in model.answer_names:
            torch.testing.assert_close(questions[answer], trained[answer], **CLOSE)

    @pytest.mark.parametrize("num_layers", [1, 2])
    def test_sparing_the_slots_that_are_not_asked_changes_nothing(self, name, num_layers):
        model = build(name, num_layers=num_layers).eval()
        histories = random_histories(CATALOGUE, [6, 0, 3, 1, 6, 5])
        trained = posed(model, histories[2:])
        for batch in (query_batch(CATALOGUE, histories, [2, 0, 1, 2, 0, 1], T)[1], trained):
            full, spared = model.encode(batch), model.encode(replace(batch, only_asked=True))
            for answer in model.answer_names:
                torch.testing.assert_close(spared[answer], full[answer], **CLOSE)

    def test_training_without_dropout_computes_what_evaluation_does(self, name):
        model, histories = build(name), random_histories(CATALOGUE, [7, 3, 5])
        first, second = outputs(model.train(), histories), outputs(model.eval(), histories)
        for answer in model.answer_names:
            torch.testing.assert_close(first[answer], second[answer], **CLOSE)

    def test_an_empty_history_gets_an_answer_in_every_domain(self, name):
        model = build(name).eval()
        for rows in asked(model, [[], [], []], [2, 0, 1]).values():
            assert torch.isfinite(rows).all()

    def test_events_beyond_the_length_of_the_model_change_nothing(self, name):
        model = build(name).eval()
        recent = [0, 6, 1, 12, 2, 7]
        short, long = asked(model, [recent], [0]), asked(model, [[3, 3, 9, *recent]], [0])
        for answer in model.answer_names:
            assert torch.equal(long[answer], short[answer])

    def test_evaluation_is_free_of_chance(self, name):
        model = build(name, dropout=0.5).eval()
        histories = random_histories(CATALOGUE, [7, 3])
        first, second = (outputs(model, histories, seed) for seed in (1, 2))
        for answer in model.answer_names:
            assert torch.equal(first[answer], second[answer])

    def test_dropout_acts_in_training(self, name):
        model = build(name, dropout=0.5).train()
        histories = random_histories(CATALOGUE, [7, 3])
        first, again, second = (outputs(model, histories, seed) for seed in (1, 1, 2))
        for answer in model.answer_names:
            assert torch.equal(first[answer], again[answer])
            assert not torch.equal(first[answer], second[answer])

    def test_the_same_seed_gives_the_same_weights(self, name):
        first, again, other = (small_model(CATALOGUE, seed, name=name).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[key], again[key]) for key in first)
        assert any(not torch.equal(first[key], other[key]) for key in first)

    def test_saved_is_loaded_bit_for_bit(self, name, tmp_path):
        model, other = build(name, seed=1).eval(), build(name, seed=2).eval()
        save_checkpoint(tmp_path / "model.safetensors", {"model": model.state_dict()}, {})
        load_module(other, load_checkpoint(tmp_path / "model.safetensors").tensors["model"], "model")
        assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())
        histories = random_histories(CATALOGUE, [7, 3])
        first, second = outputs(model, histories), outputs(other, histories)
        assert all(torch.equal(first[answer], second[answer]) for answer in model.answer_names)

    def test_every_parameter_gets_gradient_from_the_whole_objective(self, name):
        model = build(name)
        objective = objective_for(small_config(model={"name": name}), CATALOGUE)
        _, batch = training_batch(CATALOGUE, learnable_histories(), T)
        objective(model, batch, torch.Generator().manual_seed(0)).total.backward()
        for parameter_name, parameter in model.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert torch.isfinite(parameter.grad).all(), parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name

    def test_one_batch_can_be_learned_by_heart(self, name):
        size = {"name": name, "dim": 16, "num_layers": 1}
        config = small_config(model=size, loss={"mutual_information_weight": 0.0})
        model, objective = small_model(CATALOGUE, **size), objective_for(config, CATALOGUE)
        _, batch = training_batch(CATALOGUE, learnable_histories(), T)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(150):
            report = objective(model, batch, torch.Generator().manual_seed(0))
            worst = max(float(losses.max()) for losses in report.domain_losses.values())
            if worst < 0.05:
                return
            optimizer.zero_grad()
            report.total.backward()
            optimizer.step()
        pytest.fail(f"after 150 steps a domain's loss is still {worst:.3f}")

    def test_a_copy_of_the_model_shares_nothing_with_it(self, name):
        model = build(name)
        storages = [p.data_ptr() for m in (model, copy.deepcopy(model)) for p in m.parameters()]
        assert len(set(storages)) == len(storages)
