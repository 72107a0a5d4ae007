"""What ABXI asks beyond the contract: adapters of low rank that begin at nothing, and both views for one answer."""

import pytest
import torch

from builders import catalogue_of, in_given_order, query_batch, shake, small_model, training_batch
from reference.network import layer_norm
from syncrec.data.catalogue import Catalogue
from syncrec.models.abxi import LowRankAdapters
from syncrec.models.scoring import answer_vectors

CATALOGUE = catalogue_of(5, 3, 7)
HISTORIES = [[0, 6, 1, 12, 8, 2, 5], [9, 7, 4], [3, 14, 13, 6]]
MIXED = 3


def build(**model):
    model = small_model(CATALOGUE, name="abxi", **{"dim": 16, "item_similarity": False, **model})
    shake(model)
    return model


def answers(model, histories=HISTORIES):
    """Answer to every event, and its domain, in the order of the events."""
    packed, batch = training_batch(CATALOGUE, histories, 6)
    return in_given_order(packed, model.encode(batch)["cross"]), in_given_order(packed, batch.domains)


def matrix(adapters, group):
    """B_g A_g, as what the unit vectors are mapped to."""
    dim = adapters.down.in_features
    return adapters(torch.eye(dim), torch.full((dim,), group))


def test_adapters_have_low_rank_and_differ_by_group():
    adapters = LowRankAdapters(3, 12, 2)
    shake(adapters)
    found = [matrix(adapters, group) for group in range(3)]
    assert [int(torch.linalg.matrix_rank(m)) for m in found] == [2, 2, 2]
    assert not torch.allclose(found[0], found[1])
    rows = slice(2, 4)  # of group 1
    torch.testing.assert_close(found[1], (adapters.up.weight[:, rows] @ adapters.down.weight[rows]).T)


def test_fresh_adapters_change_nothing():
    model = small_model(CATALOGUE, name="abxi")
    _, batch = training_batch(CATALOGUE, HISTORIES, 6)
    view = batch.single
    embedding = model.embed(view)
    for group in range(CATALOGUE.num_domains + 1):
        groups = torch.full_like(view.domains, group)
        plain = model.encoder.encoder(embedding, view.mask)
        assert torch.equal(model.encoder(embedding, view.mask, groups), plain)
    assert matrix(model.invariant_adapters, 0).abs().sum() == 0


def moved_domains(model, adapters, group):
    """Domains whose answers differ after A of `group` has moved."""
    rank = adapters.rank
    before, domains = answers(model.eval())
    with torch.no_grad():
        adapters.down.weight[group * rank : (group + 1) * rank].add_(0.5)
    return set(domains[(before != answers(model)[0]).any(1)].tolist())


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize(("group", "moved"), [(0, {0}), (1, {1}), (2, {2}), (MIXED, {0, 1, 2})])
def test_the_lora_of_a_domain_changes_its_answers_and_that_of_the_mixture_all(layer, group, moved):
    model = build(num_layers=2)
    assert moved_domains(model, model.encoder.adapters[layer], group) == moved


@pytest.mark.parametrize("domain", range(3))
def test_the_invariant_lora_of_a_domain_changes_its_answers_alone(domain):
    model = build()
    assert moved_domains(model, model.invariant_adapters, domain) == {domain}


def test_all_sequences_and_domains_share_encoder_and_projector():
    for name in ("encoder.encoder.blocks.0.query_key_value.weight", "projector_in.weight"):
        model = build().eval()
        before, _ = answers(model)
        with torch.no_grad():
            model.get_parameter(name).mul_(1.5)
        assert (before != answers(model)[0]).any(1).all()


def test_the_part_beside_the_invariant_one_reads_the_targets_own_domain_alone():
    model = build().eval()
    with torch.no_grad():
        model.invariant_scale.zero_(), model.invariant_shift.zero_()
    history = [0, 6, 1, 12, 2, 7, 3]  # domains 0 1 0 2 0 1 0
    before, domains = answers(model, [history])
    after, _ = answers(model, [[0, 5, 1, 9, 2, 6, 3]])
    torch.testing.assert_close(after[domains == 0], before[domains == 0])
    assert (after[5] != before[5]).any()


def test_an_answer_is_the_sum_of_both_parts_each_normalised():
    model = build().eval()
    _, batch = training_batch(CATALOGUE, HISTORIES, 6)
    mixed = model._represent(batch.cross, batch.cross_slots, False, is_cross=True)
    own = model._represent(batch.single, batch.single_slots, False, is_cross=False)
    found = model.encode(batch)["cross"]
    for n, domain in enumerate(batch.domains.tolist()):
        hidden = torch.relu(model.projector_in(mixed[n]))
        total = mixed[n] + model.projector_out(hidden) + mixed[n] @ matrix(model.invariant_adapters, domain)
        invariant = layer_norm(total, model.invariant_scale[domain], model.invariant_shift[domain])
        towers = model.domain_projectors
        refined = torch.relu(own[n] @ towers.inner.weight[domain] + towers.inner.bias[domain])
        refined = own[n] + refined @ towers.outer.weight[domain] + towers.outer.bias[domain]
        expected = invariant + layer_norm(refined, towers.scale[domain], towers.shift[domain])
        torch.testing.assert_close(found[n], expected, atol=1e-5, rtol=1e-5)


def test_it_asks_for_both_views_where_its_one_answer_does_not_tell():
    assert build().views == ("cross", "single")
    assert small_model(CATALOGUE, name="sasrec").views == ("cross",)
    assert small_model(CATALOGUE, name="syncrec").views == ("cross", "single")


def test_scoring_packs_both_views(tiny_dataset):
    model = small_model(Catalogue.of(tiny_dataset), name="abxi")
    shake(model)
    queries = tiny_dataset.queries("test")
    found = answer_vectors(model, tiny_dataset, queries).queries["cross"]
    for n in range(0, len(queries), 9):
        events = slice(queries.history_starts[n], queries.target_events[n])
        history, times = tiny_dataset.items[events].tolist(), tiny_dataset.timestamps[events].tolist()
        _, batch = query_batch(model.catalogue, [history], [queries.domains[n]], model.config.max_length, [times])
        expected = model.query_vectors(model.eval().encode(batch)["cross"])[0]
        torch.testing.assert_close(found[n], expected, atol=1e-5, rtol=1e-5)
