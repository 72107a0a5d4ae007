"""The single-domain twin: what D separate SASRecs would give, and nothing that passes between domains."""

from dataclasses import replace

import pytest
import torch

import syncrec
from builders import (
    CPU,
    DAY_S,
    FIRST_TIME,
    catalogue_of,
    flat,
    in_given_order,
    objective_for,
    query_batch,
    random_histories,
    shake,
    small_config,
    small_model,
    times_of,
    training_batch,
)
from jobs import TINY, write_small_log
from syncrec.data.packing import BatchPacker
from syncrec.errors import ConfigError
from syncrec.losses.next_item import Targets
from syncrec.models.batch import TensorBatch

CATALOGUE = catalogue_of(5, 3, 7)
HISTORIES = [[0, 6, 1, 12, 8, 2, 5], [9, 7, 4], [3, 14, 13, 6], [2]]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}
DOMAINS = range(3)


def build(catalogue=CATALOGUE, **model):
    model = small_model(catalogue, name="sasrec-single", **{"item_similarity": False, **model})
    shake(model)
    return model


def of_domain(domain, items):
    start, stop = CATALOGUE.offsets[domain : domain + 2]
    return [item for item in items if start <= item < stop]


def by_item(history):
    """Times that follow from the item, whatever events are beside it."""
    return [FIRST_TIME + DAY_S * item for item in history]


def outputs(model, histories, domain, times_of=times_of):
    """Answers to the targets of one domain, in the order of the events."""
    packed, batch = training_batch(CATALOGUE, histories, 6, times_of)
    out = in_given_order(packed, model.encode(batch)["single"])
    is_here = [bool(of_domain(domain, [event])) for history in histories for event in history]
    return out[torch.tensor(is_here)]


def sasrec_of(model, domain):
    """The model `sasrec` of the catalogue of one domain, with the weights that domain has in the twin."""
    start, stop = CATALOGUE.offsets[domain : domain + 2]
    twin = small_model(catalogue_of(stop - start), name="sasrec", item_similarity=False)
    network = model.networks[str(domain)]
    with torch.no_grad():
        twin.embedding.items.weight[:-2] = model.embedding.items.weight[start:stop]
        twin.embedding.items.weight[-2] = model.embedding.items.weight[CATALOGUE.num_items + 1 + domain]
        twin.embedding.domains.weight.zero_()
    twin.embedding.positions.load_state_dict(network.positions.state_dict())
    twin.embedding.norm.load_state_dict(network.norm.state_dict())
    twin.embedding.time.load_state_dict(network.time.state_dict())
    twin.encoder.load_state_dict(network.encoder.state_dict())
    return twin.eval()


def own_events(domain, history):
    """Events of one domain, numbered in it, and their times."""
    dated = zip(history, times_of(history), strict=True)
    own = [(item - CATALOGUE.offsets[domain], time) for item, time in dated if of_domain(domain, [item])]
    return [item for item, _ in own], [time for _, time in own]


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_gets_what_sasrec_gives_on_a_dataset_of_that_domain(domain):
    model = build().eval()
    twin = sasrec_of(model, domain)
    own, times = zip(*(own_events(domain, history) for history in HISTORIES if of_domain(domain, history)), strict=True)
    packed = BatchPacker(twin.catalogue, 6).training_batch(*flat(own), flat(times)[0])
    expected = in_given_order(packed, twin.encode(TensorBatch.of(packed, CPU))["cross"])
    torch.testing.assert_close(outputs(model, HISTORIES, domain), expected, **CLOSE)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("score", ["cosine", "dot"])
def test_the_loss_of_a_domain_touches_nothing_of_another(domain, score):
    model, size = build(score=score), {"name": "sasrec-single", "score": score}
    objective = objective_for(small_config(model=size, loss={"kind": "bce"}), CATALOGUE)
    only = [of_domain(domain, history) for history in HISTORIES if of_domain(domain, history)]
    for histories in (HISTORIES, only):
        _, batch = training_batch(CATALOGUE, histories, 6)
        losses = objective.next_item(
            model.query_vectors(model.encode(batch)["single"])[:, None],
            model.item_vectors,
            Targets(batch.targets, batch.domains, batch.domain_counts),
            torch.Generator().manual_seed(0),
        )
        model.zero_grad(set_to_none=True)
        losses[batch.domains == domain].sum().backward()
        assert_only_moves(model, domain)


def assert_only_moves(model, domain):
    """The gradients are those of one domain's network, items and start token, and all of these are moved."""
    for name, parameter in model.networks.named_parameters():
        is_moved = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert is_moved == name.startswith(f"{domain}."), name
    moved = set(model.embedding.items.weight.grad.abs().sum(1).nonzero().flatten().tolist())
    start, stop = CATALOGUE.offsets[domain : domain + 2]
    start_token = CATALOGUE.num_items + 1 + domain
    assert start_token in moved
    assert moved <= {*range(start, stop), start_token}


def test_a_network_reads_items_of_its_own_domain_alone():
    model, read = build(), []
    for network in model.networks.values():
        for rest in (network.positions, network.time):  # so that nothing but items is left in what is normalised
            for weight in rest.parameters():
                torch.nn.init.zeros_(weight)
        network.norm.register_forward_pre_hook(lambda module, given: read.append(given[0].flatten(0, 1)))
    model.encode(training_batch(CATALOGUE, HISTORIES, 6)[1])
    own = [{CATALOGUE.num_items + 1 + d, *(e for h in HISTORIES for e in of_domain(d, h[:-1]))} for d in DOMAINS]
    table = model.embedding.items.weight
    for vectors, items in zip(read, own, strict=True):
        tokens = {int((table == vector).all(1).nonzero()) for vector in vectors}
        assert tokens <= items


@pytest.mark.parametrize("domain", DOMAINS)
def test_events_of_other_domains_change_nothing(domain):
    model = build().eval()
    before = outputs(model, HISTORIES, domain, by_item)
    own = [of_domain(domain, history) for history in HISTORIES]
    for seed in range(5):
        histories = [woven(items, domain, seed) for items in own]
        assert torch.equal(outputs(model, histories, domain, by_item), before)


def woven(items, domain, seed):
    """`items`, all of one domain, with random events of other domains between them; at most seven events."""
    others = [[i for i in history if not of_domain(domain, [i])] for history in random_histories(CATALOGUE, [9], seed)]
    spare, out = others[0][: 7 - len(items)], list(items)
    for number, item in enumerate(spare):
        out.insert((number * 5 + seed) % (len(out) + 1), item)
    return out


def test_the_order_of_domains_changes_no_answer_to_a_question():
    model = build().eval()
    for domain in DOMAINS:
        found = []
        for histories in (HISTORIES, [of_domain(domain, history) for history in HISTORIES]):
            times = [by_item(history) for history in histories]
            packed, batch = query_batch(CATALOGUE, histories, [domain] * 4, 7, times)
            found.append(in_given_order(packed, model.encode(replace(batch, only_asked=True))["single"]))
        torch.testing.assert_close(found[0], found[1], **CLOSE)


def test_no_memory_is_shared_by_networks_and_none_is_left_over():
    model = build()
    assert list(model.networks) == ["0", "1", "2"]
    storages = [parameter.data_ptr() for parameter in model.parameters()]
    assert len(set(storages)) == len(storages)
    shared = {name for name, _ in model.named_parameters() if not name.startswith("networks.")}
    assert shared == {"embedding.items.weight"}


def test_a_domain_without_targets_takes_no_step():
    model = build()
    objective = objective_for(small_config(model={"name": "sasrec-single"}), CATALOGUE)
    _, batch = training_batch(CATALOGUE, [[0, 1, 3], [9, 8]], 6)
    objective(model, batch, torch.Generator().manual_seed(0)).total.backward()
    assert all(parameter.grad is None for parameter in model.networks["1"].parameters())


def test_a_domain_of_one_item_has_no_network_and_gets_zeros():
    catalogue = catalogue_of(5, 1, 7)
    model = build(catalogue)
    assert list(model.networks) == ["0", "2"]
    packed, batch = training_batch(catalogue, [[0, 5, 6, 5]], 6)
    found = in_given_order(packed, model.encode(batch)["single"])
    assert (found != 0).any(1).tolist() == [True, False, True, False]


@pytest.mark.parametrize("only_asked", [False, True])
def test_the_cross_view_is_not_read(only_asked):
    model = build().eval()
    assert model.views == ("single",)
    both = BatchPacker(CATALOGUE, 6).query_batch(*flat(HISTORIES), torch.tensor([0, 2, 1, 0]).numpy())
    alone = BatchPacker(CATALOGUE, 6, model.views).query_batch(*flat(HISTORIES), torch.tensor([0, 2, 1, 0]).numpy())
    assert alone.cross.tokens.shape == (0, 1)
    first, second = (model.encode(TensorBatch.of(b, CPU, only_asked=only_asked))["single"] for b in (both, alone))
    assert torch.equal(first, second)


def test_no_histories_give_no_answers():
    _, batch = query_batch(CATALOGUE, [], [], 6)
    assert build().eval().encode(batch)["single"].shape == (0, 8)


def test_a_model_with_the_single_answer_alone_goes_through_the_whole_job(tmp_path):
    dataset = syncrec.prepare(write_small_log(tmp_path / "log.csv"), out=tmp_path / "data", max_history=12)
    run = syncrec.train(dataset, tmp_path / "run", model="sasrec-single", settings=TINY, show_progress=False)
    assert run.trained.fusion_weights is None
    result = run.evaluate()
    assert list(result.answers) == ["single"]
    best, single = (run.recommend("u3", "films", 5, answer=answer) for answer in ("fused", "single"))
    assert best == single
    assert len(best) == 5
    with pytest.raises(ConfigError, match="the model has no answer 'cross'; it has fused, single"):
        run.recommend("u3", "films", 5, answer="cross")
