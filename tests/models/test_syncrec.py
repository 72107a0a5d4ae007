"""What the paper asks of SyNCRec beyond the contract: distinct parts, causal gates, stopped gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import FIRST_TIME, catalogue_of, in_given_order, query_batch, shake, small_model, training_batch
from syncrec.errors import ConfigError
from syncrec.models.registry import build_model

CATALOGUE = catalogue_of(5, 3, 7)
HISTORIES = [[0, 6, 1, 12, 8, 2, 5], [9, 7, 4], [3, 14, 13, 6]]


def build(**model):
    model = small_model(CATALOGUE, num_experts=4, num_cross_experts=2, **model)
    shake(model)
    return model


def encode(model):
    packed, batch = training_batch(CATALOGUE, HISTORIES, 6)
    return packed, model.encode(batch)


def test_experts_are_distinct_objects_with_distinct_memory_and_values():
    model = small_model(CATALOGUE, num_experts=4, num_cross_experts=2)
    assert len({id(expert) for expert in model.mixture.experts}) == 4
    places = [p.data_ptr() for expert in model.mixture.experts for p in expert.parameters()]
    assert len(set(places)) == len(places)
    first, *others = [expert.blocks[0].query_key_value.weight for expert in model.mixture.experts]
    assert all(not torch.equal(first, other) for other in others)


def test_every_task_has_its_own_tower_and_gate():
    model = small_model(CATALOGUE, num_experts=4, num_cross_experts=2)
    num_tasks = CATALOGUE.num_domains + 1
    for part in (model.towers.inner.weight, model.towers.outer.weight):
        assert len({part[task].data_ptr() for task in range(num_tasks)}) == num_tasks
        assert all(not torch.equal(part[0], part[task]) for task in range(1, num_tasks))
    gates = model.mixture.gates.maps.weight.view(num_tasks, 4, -1)
    assert all(not torch.equal(gates[0], gates[task]) for task in range(1, num_tasks))


def changed_tasks(model, change):
    """Tasks (0: cross, 1 + d: single of d) whose outputs differ after `change` moved parameters in place."""
    packed, before = encode(model.eval())
    with torch.no_grad():
        change()
    _, after = encode(model)
    moved = (before["single"] != after["single"]).any(1)
    domains = torch.as_tensor(packed.domains)
    tasks = {1 + d for d in range(CATALOGUE.num_domains) if moved[domains == d].any()}
    return tasks | ({0} if (before["cross"] != after["cross"]).any() else set())


@pytest.mark.parametrize("task", range(4))
def test_a_tower_changes_its_own_task_alone(task):
    model = build()
    for part in (*model.towers.inner.parameters(), *model.towers.outer.parameters(), model.towers.scale):
        assert changed_tasks(model, lambda part=part: part[task].add_(0.5)) == {task}


@pytest.mark.parametrize("task", range(4))
def test_a_gate_changes_its_own_task_alone(task):
    model = build()
    weight = model.mixture.gates.maps.weight
    assert changed_tasks(model, lambda: weight[task * 4].add_(0.5)) == {task}


@pytest.mark.parametrize("expert", range(4))
def test_every_task_reads_every_expert(expert):
    model = build()
    norm = model.mixture.experts[expert].norm.weight
    assert changed_tasks(model, lambda: norm.mul_(1.5)) == {0, 1, 2, 3}


@pytest.mark.parametrize("expert", range(4))
def test_own_only_tasks_read_their_own_side(expert):
    model = build(mixing="own-only")
    norm = model.mixture.experts[expert].norm.weight
    assert changed_tasks(model, lambda: norm.mul_(1.5)) == ({0} if expert < 2 else {1, 2, 3})


def projected(model, answer):
    """Size of every expert's gradient from one answer alone: a random projection, as norms of outputs say little."""
    model.zero_grad()
    rows = encode(model)[1][answer]
    (rows * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    return [
        sum(0.0 if p.grad is None else float(p.grad.abs().sum()) for p in e.parameters()) for e in model.mixture.experts
    ]


@pytest.mark.parametrize(("answer", "learns"), [("cross", [0, 1]), ("single", [2, 3])])
def test_an_expert_learns_from_its_own_side_alone(answer, learns):
    sizes = projected(build(), answer)
    assert [index for index, size in enumerate(sizes) if size > 0] == learns


@pytest.mark.parametrize("mixing", ["no-stop-gradient", "no-separation"])
@pytest.mark.parametrize("answer", ["cross", "single"])
def test_without_stop_gradient_every_expert_learns_from_every_side(mixing, answer):
    assert all(size > 0 for size in projected(build(mixing=mixing), answer))


def test_gates_get_gradient_for_experts_that_do_not():
    model = build()
    projected(model, "cross")
    gate = model.mixture.gates.maps.weight.grad.view(4, 4, -1)
    assert (gate[0].abs().sum(1) > 0).all()
    assert gate[1:].abs().sum() == 0


def gate_weights(model, history, is_cross):
    """Gates at every slot that answers a target of one history, in the order of the events."""
    packed, batch = training_batch(CATALOGUE, [history], 6)
    view = batch.cross if is_cross else batch.single
    slots = batch.cross_slots if is_cross else batch.single_slots
    tasks = torch.zeros_like(view.domains) if is_cross else (view.domains + 1).clamp(max=CATALOGUE.num_domains)
    embedding = model.embed(view)
    _, weights = model.mixture(embedding, view.mask, tasks, is_cross=is_cross)
    return in_given_order(packed, weights.flatten(0, 1)[slots])


@pytest.mark.parametrize("is_cross", [True, False], ids=["cross", "single"])
def test_gates_never_see_a_later_item_and_sum_to_one(is_cross):
    model = build().eval()
    history = [0, 6, 1, 12, 2, 7, 3]
    before = gate_weights(model, history, is_cross)
    torch.testing.assert_close(before.sum(1), torch.ones(len(history)))
    for place, other in enumerate([1, 5, 0, 11, 3, 6, 2]):
        after = gate_weights(model, [*history[:place], other, *history[place + 1 :]], is_cross)
        assert torch.equal(after[: place + 1], before[: place + 1])


def test_an_unknown_model_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown model 'sincrec'; did you mean 'syncrec'\?; known: .*syncrec"):
        build_model(CATALOGUE, small_model(CATALOGUE).config.model_copy(update={"name": "sincrec"}))


APART = replace(CATALOGUE, communities=(0, 1, 0))
LONE = 1
HAS_LONE = [[0, 6, 1, 12, 8, 2, 5], [9, 7, 4], [3, 14, 13, 6], [6, 5, 7]]


def lone_model(**model):
    model = small_model(APART, num_experts=4, num_cross_experts=2, **model)
    shake(model)
    return model


def moved_parts(model, answers, is_asked):
    """Names of parameters with a gradient from `answers` [N, dim] where `is_asked` [N], and rows of the item table."""
    model.zero_grad(set_to_none=True)
    answers[is_asked].square().sum().backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    items = grads.pop("embedding.items.weight").any(1).nonzero().flatten().tolist()
    return grads, set(items)


class TestADomainThatReadsItselfAlone:
    def test_it_learns_nothing_that_another_domain_reads(self):
        model = lone_model(item_similarity=True)
        packed, batch = training_batch(APART, HAS_LONE, 6)
        is_lone = torch.as_tensor(packed.domains == LONE)
        grads, items = moved_parts(model, model.encode(batch)["single"], is_lone)
        own = {name for name, _ in model.named_parameters() if name.startswith(f"lone.{LONE}.")}
        assert {name for name in own if "from_" not in name} <= set(grads)
        shared = {name for name in grads if not name.startswith("lone.")}
        assert shared == {name for name in shared if name.startswith(("towers.", "similarity."))}
        for name in shared:  # parts of a task each: those of the lone domain alone are moved
            of_tasks = grads[name].reshape(len(grads[name]), -1).any(1)
            assert of_tasks.nonzero().flatten().tolist() == [1 + LONE], name
        start, stop = APART.offsets[LONE : LONE + 2]
        assert items <= {*range(start, stop), APART.num_items + 1 + LONE}

    @pytest.mark.parametrize("answer", ["cross", "single"])
    def test_no_other_domain_learns_what_it_reads(self, answer):
        model = lone_model()
        packed, batch = training_batch(APART, HAS_LONE, 6)
        is_lone = torch.as_tensor(packed.domains == LONE)
        grads, items = moved_parts(model, model.encode(batch)[answer], ~is_lone)
        assert not any(name.startswith("lone.") for name in grads)
        assert items.isdisjoint({*range(*APART.offsets[LONE : LONE + 2]), APART.num_items + 1 + LONE})
        assert any(name.startswith("mixture.experts.0") for name in grads) == (answer == "cross")

    @pytest.mark.parametrize("answer", ["cross", "single"])
    def test_the_others_are_trained_as_if_it_were_not_there(self, answer):
        model = lone_model().eval()
        start, stop = APART.offsets[LONE : LONE + 2]
        without = [[item for item in history if not start <= item < stop] for history in HAS_LONE]
        found = []
        for histories in (HAS_LONE, without):
            packed, batch = training_batch(APART, histories, 6, lambda h: [FIRST_TIME + item for item in h])
            is_lone = torch.as_tensor(packed.domains == LONE)
            grads, items = moved_parts(model, model.encode(batch)[answer], ~is_lone)
            found.append((grads, items))
        assert found[0][1] == found[1][1]
        assert found[0][0].keys() == found[1][0].keys()
        for name, gradient in found[0][0].items():
            torch.testing.assert_close(gradient, found[1][0][name], atol=1e-4, rtol=1e-4, msg=name)

    @pytest.mark.parametrize("only_asked", [False, True])
    def test_a_batch_may_hold_it_alone_or_not_at_all(self, only_asked):
        model = lone_model().eval()
        _, both = query_batch(APART, HAS_LONE, [0, LONE, 2, LONE], 6)
        whole = model.encode(replace(both, only_asked=only_asked))
        for domains in ([0, 2], [LONE]):
            chosen = torch.isin(both.domains, torch.tensor(domains)).nonzero().squeeze(1)
            part = replace(both.select(chosen, both.cross_slots[chosen], both.cross), only_asked=only_asked)
            for name, answer in model.encode(part).items():
                torch.testing.assert_close(answer, whole[name][chosen], atol=1e-5, rtol=1e-5)

    def test_where_no_domain_reads_another_each_has_its_own(self):
        model = small_model(replace(CATALOGUE, communities=(0, 1, 2)))
        shake(model)
        assert list(model.lone) == ["0", "1", "2"]
        _, batch = training_batch(model.catalogue, HAS_LONE, 6)
        model.encode(batch)["single"].square().sum().backward()
        assert all(any(p.grad.any() for p in network.parameters()) for network in model.lone.values())
        assert all(parameter.grad is None for parameter in model.mixture.parameters())

    def test_the_last_position_is_that_of_its_own_events(self):
        model = lone_model()
        model._end_positions(np.asarray([3, 5]))
        assert int(model.embedding.positions.last) == 3
        assert int(model.lone[str(LONE)].positions.last) == 5

    def test_without_one_there_is_no_network_beside_the_shared_one(self):
        assert not build().lone
