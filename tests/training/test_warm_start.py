"""A run that begins from another one: what is copied, what is matched, what is fresh."""

import re
import shutil

import numpy as np
import pytest
import torch

from builders import shake, small_model
from jobs import TINY, write_small_log
from syncrec.checkpoint import load_checkpoint
from syncrec.data.catalogue import Catalogue
from syncrec.errors import ArtifactError, CheckpointError, ConfigError
from syncrec.models.registry import MODELS
from syncrec.pipeline import prepare, train
from syncrec.runs import BEST_NAME, LAST_NAME, RunDirectory, TrainedModel
from syncrec.training.loop import Trainer
from syncrec.training.warm_start import EarlierRun, _periods

SETTINGS = [*TINY, "training.epochs=1", "training.warmup_steps=0"]
STANDING = [*SETTINGS, "training.learning_rate=1e-12"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The dataset `old` and its run, and `new`: the same log, later, with new users and with new items in front."""
    folder = tmp_path_factory.mktemp("warm")
    log = write_small_log(folder / "old.csv")
    prepare(log, out=folder / "old")
    train(folder / "old", folder / "run", settings=SETTINGS, show_progress=False)
    rows = [f"new{u},{d[0]}!{i},{d},{90_000 + i}" for u in range(8) for d in ("books", "films") for i in range(5)]
    (folder / "new.csv").write_text(log.read_text() + "\n".join(rows) + "\n")
    prepare(folder / "new.csv", out=folder / "new")
    return folder


@pytest.fixture(scope="module")
def earlier(place):
    return EarlierRun.open(place / "run")


def rows_by_name(dataset, table):
    return {
        (d, name): table[dataset.item_index(d, name)]
        for n, d in enumerate(dataset.domains)
        for name in dataset.item_tables[n]
    }


def test_its_settings_are_taken_where_none_are_given(place, earlier, tmp_path):
    begun = place / "run"
    same = train(place / "new", tmp_path / "same", settings=["training.seed=7"], warm_start=begun, show_progress=False)
    assert same.config.model == earlier.trained.model.config
    assert same.config.training == RunDirectory.open(begun).config.training.model_copy(update={"seed": 7})
    with pytest.raises(ArtifactError, match="no such run"):
        train(place / "new", tmp_path / "other", warm_start=tmp_path / "gone", show_progress=False)


def test_items_keep_their_rows_whatever_their_number_and_new_ones_are_fresh(place, earlier):
    run = train(place / "new", place / "standing", settings=STANDING, warm_start=place / "run", show_progress=False)
    old = rows_by_name(earlier.dataset, earlier.trained.model.embedding.items.weight)
    new = rows_by_name(run.dataset, run.trained.model.embedding.items.weight)
    assert set(new) - set(old) == {(d, f"{d[0]}!{i}") for d in ("books", "films") for i in range(5)}
    assert run.dataset.item_index("films", "f1") != earlier.dataset.item_index("films", "f1")
    for name in old.keys() & new.keys():
        assert torch.allclose(old[name], new[name], atol=1e-6), name
    fresh = torch.stack([new[name] for name in set(new) - set(old)])
    assert 0.01 < float(fresh.detach().std()) < 0.03
    assert earlier.num_known_items(run.dataset) == len(old)
    for start in range(4):
        rows = [
            m.embedding.items.weight[d.num_items + start]
            for m, d in ((earlier.trained.model, earlier.dataset), (run.trained.model, run.dataset))
        ]
        assert torch.allclose(*rows, atol=1e-6)


@pytest.mark.parametrize("was_known", [True, False])
def test_items_known_before_stay_known(place, earlier, tmp_path, was_known):
    new = prepare(place / "new.csv", out=tmp_path / "new")
    item, other = ("films", "f1"), ("films", "f2")
    old, model = (small_model(Catalogue.of(dataset)) for dataset in (earlier.dataset, new))
    old.is_known.zero_()
    old.is_known[earlier.dataset.item_index(*item)] = was_known
    model.is_known.zero_()
    model.is_known[new.item_index(*other)] = True
    EarlierRun(tmp_path, TrainedModel(old, None, 0), earlier.dataset).give_weights(model, new)
    expected = {new.item_index(*other)} | ({new.item_index(*item)} if was_known else set())
    assert set(np.flatnonzero(model.known_items).tolist()) == expected


def test_a_run_from_before_items_were_skipped_can_be_begun_from(place, earlier, tmp_path):
    settings = [*SETTINGS, "model.unknown_items=read"]
    train(place / "old", tmp_path / "reading", settings=settings, show_progress=False)
    begun = EarlierRun.open(tmp_path / "reading", place / "old")
    model = small_model(
        Catalogue.of(begun.dataset), **{**begun.trained.model.config.model_dump(), "unknown_items": "skip"}
    )
    begun.give_weights(model, begun.dataset)
    assert np.array_equal(model.known_items, np.asarray(begun.dataset.item_counts) > 0)
    back = small_model(Catalogue.of(begun.dataset), **begun.trained.model.config.model_dump())
    EarlierRun(tmp_path, TrainedModel(model, None, 0), begun.dataset).give_weights(back, begun.dataset)


def test_it_is_better_from_the_start_than_a_fresh_one(place):
    train(
        place / "old",
        place / "longer",
        settings=[*TINY, "training.epochs=20", "training.learning_rate=1e-2"],
        show_progress=False,
    )
    values = []
    for name, warm in [("fresh", None), ("warm", place / "longer")]:
        train(place / "new", place / name, settings=SETTINGS, warm_start=warm, show_progress=False)
        values.append(load_checkpoint(place / name / LAST_NAME).state["best_value"])
    assert values[1] > 1.2 * values[0]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_can_begin_from_itself(name, tiny_dataset, tmp_path):
    old, new = (small_model(Catalogue.of(tiny_dataset), seed=seed, name=name) for seed in (0, 1))
    shake(old)
    EarlierRun(tmp_path, TrainedModel(old, None, 0), tiny_dataset).give_weights(new, tiny_dataset)
    for key, tensor in old.state_dict().items():
        assert torch.equal(tensor, new.state_dict()[key]), key


@pytest.mark.parametrize("communities", [(0, 1, 0), (0, 0, 0)])
def test_domains_read_each_other_as_they_did_there(place, tmp_path, monkeypatch, communities):
    old = train(place / "old", tmp_path / "a", settings=SETTINGS, communities=communities, show_progress=False)
    monkeypatch.setattr("syncrec.pipeline.find_communities", lambda *_: (0, 0, 1))
    new = train(place / "new", tmp_path / "b", settings=STANDING, warm_start=old.path, show_progress=False)
    assert new.directory.communities == communities
    other = (0, 0, 1)
    for options in ({"out": tmp_path / "c", "warm_start": old.path}, {"out": old.path, "resume": True}):
        with pytest.raises(ConfigError, match=re.escape(f"{old.path}: its domains read each other by communities")):
            train(place / "new" if "warm_start" in options else place / "old", communities=other, **options)
    assert not (tmp_path / "c").exists()
    lone = old.trained.model.lone.state_dict()
    assert bool(lone) == (communities == (0, 1, 0))
    for key, tensor in new.trained.model.lone.state_dict().items():
        if not key.endswith(("periods.weight", "edges", "last")):  # matched by time, or observed anew
            torch.testing.assert_close(tensor, lone[key], msg=key)


@pytest.mark.parametrize("communities", [(0, 1), (0, 2, 0), (1, 1, 1), (0, -1, 0)])
def test_communities_that_are_none_of_the_dataset_are_refused(place, tmp_path, communities):
    with pytest.raises(
        ConfigError, match=r"communities must be one number for each of 3 domains, 0, 1, \.\.\. without gaps"
    ):
        train(place / "old", tmp_path / "a", settings=SETTINGS, communities=communities, show_progress=False)
    assert not (tmp_path / "a").exists()


def test_a_log_with_one_more_domain_is_refused(place, tmp_path):
    log = (place / "old.csv").read_text() + "".join(f"new,z{i},zoo,{90_000 + i}\n" for i in range(6))
    (tmp_path / "more.csv").write_text(log)
    prepare(tmp_path / "more.csv", out=tmp_path / "more")
    old = train(place / "old", tmp_path / "run", settings=SETTINGS, communities=(0, 1, 0), show_progress=False)
    with pytest.raises(CheckpointError, match="they must be the same"):
        train(tmp_path / "more", tmp_path / "new", warm_start=old.path, show_progress=False)
    assert not (tmp_path / "new").exists()


def test_periods_are_matched_by_time():
    """Old periods begin at (-inf, 10, 20, 30), new ones at (-inf, 15, 30, 99); row 0 is that of start tokens."""
    old = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
    assert _periods(old, torch.tensor([10, 20, 30]), torch.tensor([15, 30, 99])).flatten().tolist() == [0, 2, 2, 4, 4]
    assert torch.equal(_periods(old, torch.tensor([10, 20, 30]), torch.tensor([10, 20, 30])), old)


def test_a_warm_start_that_was_interrupted_goes_on_to_the_same_weights(place, tmp_path, monkeypatch):
    settings = [*TINY, "training.refit=validation"]
    whole = train(place / "new", tmp_path / "whole", settings=settings, warm_start=place / "run", show_progress=False)
    step, steps = Trainer._step, iter(range(10**6))

    def crashing(self, *arguments):
        if next(steps) == 1:
            raise RuntimeError
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", crashing)
        with pytest.raises(RuntimeError):
            train(place / "new", tmp_path / "run", settings=settings, warm_start=place / "run", show_progress=False)
    assert RunDirectory.open(tmp_path / "run").warm_start == place / "run"
    again = train(place / "new", tmp_path / "run", resume=True, show_progress=False)
    for key, tensor in whole.trained.model.state_dict().items():
        assert torch.equal(tensor, again.trained.model.state_dict()[key]), key


def test_what_does_not_fit_is_refused_before_anything_is_written(place, tmp_path, tiny_dataset):
    wrong = [
        ({"settings": [*SETTINGS, "model.dim=8"]}, CheckpointError, r"model\.dim is 8 \(there 16\)"),
        ({"settings": SETTINGS, "model": "sasrec"}, CheckpointError, r"model\.name is 'sasrec' \(there 'syncrec'\)"),
        (
            {"settings": SETTINGS, "dataset": tiny_dataset},
            CheckpointError,
            "was trained on the domains books, films, tools",
        ),
        ({"settings": SETTINGS, "warm_start": place / "nowhere"}, ArtifactError, "no such run"),
    ]
    for options, error, message in wrong:
        given = {"dataset": place / "new", "warm_start": place / "run", **options}
        with pytest.raises(error, match=message):
            train(out=tmp_path / "run", show_progress=False, **given)
        assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="which began from fresh weights; leave out --warm-start"):
        train(place / "old", place / "run", resume=True, warm_start=place / "run", show_progress=False)


def test_another_dropout_is_no_other_network(place, tmp_path):
    settings = [*SETTINGS, "model.dropout=0.1"]
    run = train(place / "new", tmp_path / "run", settings=settings, warm_start=place / "run", show_progress=False)
    assert np.isfinite(load_checkpoint(run.path / BEST_NAME).state["value"])


def test_only_a_second_fit_begins_from_weights_that_have_seen_validation_events(place, tmp_path):
    settings = [*SETTINGS, "training.refit=validation"]
    first = train(place / "old", tmp_path / "first", settings=settings, show_progress=False)
    earlier = EarlierRun.open(first.path)
    before, after = (
        first.directory.trained_model(torch.device("cpu"), for_validation=is_it) for is_it in (True, False)
    )
    name = "embedding.items.weight"
    assert not torch.equal(before.model.state_dict()[name], after.model.state_dict()[name])
    for is_second, expected in ((False, before), (True, after)):
        fresh = small_model(
            first.trained.model.catalogue, seed=3, **first.directory.config.model.model_dump(exclude={"name"})
        )
        earlier.give_weights(fresh, earlier.dataset, is_second=is_second)
        assert torch.equal(fresh.state_dict()[name], expected.model.state_dict()[name])


def test_the_first_fit_of_a_run_does(place, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(EarlierRun, "give_weights", lambda *_, is_second: given.append(is_second))
    settings = [*SETTINGS, "training.refit=validation"]
    first = train(place / "old", tmp_path / "first", settings=settings, show_progress=False)
    train(place / "new", tmp_path / "second", settings=settings, warm_start=first.path, show_progress=False)
    assert given == [False, True]


@pytest.mark.parametrize("refit", ["none", "validation"])
def test_a_run_that_has_begun_needs_the_earlier_one_no_more(place, tmp_path, refit):
    settings = [*SETTINGS, f"training.refit={refit}"]
    first = train(place / "old", tmp_path / "first", settings=settings, show_progress=False)
    second = train(place / "new", tmp_path / "second", settings=settings, warm_start=first.path, show_progress=False)
    shutil.rmtree(first.path)
    assert not second.directory.needs_its_beginning()
    train(place / "new", second.path, resume=True, show_progress=False)
    (second.path / "last.safetensors").unlink()
    with pytest.raises(ArtifactError, match="no such run"):
        train(place / "new", second.path, resume=True, show_progress=False)
