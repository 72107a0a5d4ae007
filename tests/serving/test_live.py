"""A served run against the recommender that works on one user at a time."""

import shutil

import numpy as np
import pytest
import torch

from syncrec.checkpoint import load_checkpoint, save_checkpoint
from syncrec.errors import ArtifactError, CheckpointError, ConfigError, UnknownDomainError
from syncrec.pipeline import open_run
from syncrec.serving.histories import merged_history
from syncrec.serving.item_table import ItemTable
from syncrec.serving.live import Known, LiveModel
from syncrec.serving.questions import NumberRange, Past, Question
from syncrec.serving.store.schema import HistoryEvent

ALL = 30


@pytest.fixture(scope="module")
def recommender(place):
    return open_run(place / "run").recommender()


def one(live, question, known=None):
    live.check(question)
    return live.answer([question], [known or Known()])[0]


def pairs(found):
    return [(entry.item, pytest.approx(entry.score, abs=1e-4)) for entry in found]


@pytest.mark.parametrize("answer", ["fused", "cross", "single"])
def test_it_answers_as_the_recommender_does_for_known_users(live, recommender, answer):
    for user in ("u0", "u7"):
        found = one(live, Question("films", 5, user, answer=answer))
        wanted = recommender.for_user(user, "films", 5, answer=answer)
        assert list(zip(found.items, found.scores, strict=True)) == pairs(wanted)
        assert found.is_known_user


def test_a_batch_of_different_questions_is_answered_one_by_one(live):
    questions = [
        Question("films", 5, "u0"),
        Question("books", 2, "u1", answer="cross"),
        Question("films", 1, "nobody", answer="single"),
        Question("tools", 30, None, (Past("books", "b3"), Past("films", "f7", 5)), exclude_seen=True),
        Question("books", 4, "u0", deny=frozenset(["b1", "b2"])),
    ]
    together = live.answer(questions, [Known()] * len(questions))
    for question, found in zip(questions, together, strict=True):
        alone = one(live, question)
        assert (found.items, found.is_known_user) == (alone.items, alone.is_known_user)
        assert found.scores == pytest.approx(alone.scores, abs=1e-5)


def test_a_given_history_takes_the_place_of_the_users_own(live, recommender):
    found = one(live, Question("films", 5, "u0", (Past("books", "b3"), Past("films", "f7"))))
    wanted = recommender.for_history([("books", "b3"), ("films", "f7")], "films", 5)
    assert list(zip(found.items, found.scores, strict=True)) == pairs(wanted)


def test_events_of_the_store_come_after_those_of_the_dataset(live, recommender):
    known = Known([HistoryEvent("films", "f9", 90_000, "click"), HistoryEvent("books", "b9", 91_000, "click")])
    found = one(live, Question("films", 5, "u0"), known)
    user = live.dataset.user_index("u0")
    history = [event_of(live.dataset, item) for item in live.dataset.history(user).tolist()]
    start, stop = live.dataset.user_offsets[user : user + 2]
    times = [*live.dataset.timestamps[start:stop].tolist(), 90_000, 91_000]
    wanted = recommender.for_history([*history, ("films", "f9"), ("books", "b9")], "films", 5, times=times)
    assert list(zip(found.items, found.scores, strict=True)) == pairs(wanted)


def event_of(dataset, item):
    return next(d for d in dataset.domains if d[0] == dataset.item_id(item)[0]), dataset.item_id(item)


def test_an_event_that_the_dataset_has_too_counts_once(live):
    """As after a training on a log that was exported from the store."""
    user = live.dataset.user_index("u0")
    start, stop = live.dataset.user_offsets[user : user + 2]
    items, times = live.dataset.items[start:stop].tolist(), live.dataset.timestamps[start:stop].tolist()
    both = [HistoryEvent(*event_of(live.dataset, i), t, "click") for i, t in zip(items, times, strict=True)]
    assert one(live, Question("films", 5, "u0"), Known(both)) == one(live, Question("films", 5, "u0"))


def test_an_event_that_both_have_counts_once_where_times_tie_at_the_edge_of_the_window(live):
    user = live.dataset.user_index("u0")
    start, stop = live.dataset.user_offsets[user : user + 2]
    items = live.dataset.items[start:stop].tolist()

    class AtOneTime:
        def __getattr__(self, name):
            return np.full(len(live.dataset.items), 100) if name == "timestamps" else getattr(live.dataset, name)

    both = [HistoryEvent(*event_of(live.dataset, item), 100, "click") for item in items]
    found = merged_history(live.index, AtOneTime(), "u0", both, 4)
    assert found.items.tolist() == items[-4:]


def test_unknown_users_get_what_the_start_token_says(live, recommender):
    for domain in live.dataset.domains:
        found = one(live, Question(domain, 5, "nobody"))
        assert list(zip(found.items, found.scores, strict=True)) == pairs(recommender.for_history([], domain, 5))
        assert not found.is_known_user


def test_unknown_items_are_left_out_and_counted(live):
    strange = (Past("books", "b3"), Past("books", "nothing"), Past("cars", "c1"))
    found = one(live, Question("films", 5, None, strange, allow=frozenset(["f1", "f99"]), deny=frozenset(["f98"])))
    assert found.num_unknown_items == 4
    assert found.items == ["f1"]
    known = Known([HistoryEvent("books", "nothing", 5, "click")])
    assert one(live, Question("films", 5, "u0"), known).num_unknown_items == 1


def test_lists_allow_and_deny(live):
    everything = one(live, Question("films", ALL, "u0")).items
    allowed = one(live, Question("films", ALL, "u0", allow=frozenset(["f1", "f5", "f9"]))).items
    assert allowed == [item for item in everything if item in ("f1", "f5", "f9")]
    denied = one(live, Question("films", ALL, "u0", deny=frozenset(["f1", "f5"]))).items
    assert denied == [item for item in everything if item not in ("f1", "f5")]
    assert one(live, Question("films", ALL, "u0", allow=frozenset())).items == []


def test_seen_items_are_left_out_whoever_saw_them(live):
    user = live.dataset.user_index("u0")
    own = {live.dataset.item_id(int(i)) for i in live.dataset.history(user)}
    found = one(live, Question("films", ALL, "u0", exclude_seen=True), Known(seen=frozenset(["f3", "gone"])))
    everything = one(live, Question("films", ALL, "u0")).items
    assert found.items == [item for item in everything if item not in own | {"f3"}]


@pytest.fixture(scope="module")
def filtered(place, tmp_path_factory):
    path = tmp_path_factory.mktemp("items") / "items.csv"
    rows = [f"films,f{i},{'drama' if i % 2 else 'crime'},{1990 + i},{'x' if i == 3 else ''}" for i in range(20)]
    path.write_text("\n".join(["domain,item,genre,year,note", *rows, "films,new,drama,2030,"]))
    return LiveModel("run", place / "run", items=ItemTable(path))


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"genre": frozenset(["drama"])}, {f"f{i}" for i in range(1, 20, 2)}),
        ({"year": NumberRange(1995, 1997)}, {"f5", "f6", "f7"}),
        ({"year": NumberRange(minimum=2008)}, {"f18", "f19"}),
        ({"year": NumberRange(1995, 1997), "genre": frozenset(["crime", "none"])}, {"f6"}),
        ({"note": frozenset(["x"])}, {"f3"}),
        ({"note": frozenset([""])}, set()),
    ],
)
def test_filters_let_items_with_the_attribute_through(filtered, filters, wanted):
    """Of the 30 films 10 are not in the table, and pass no filter."""
    found = one(filtered, Question("films", ALL, "u0", filters=filters)).items
    assert set(found) == wanted & set(filtered.index.ids[1])


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        (Question("film"), UnknownDomainError, "unknown domain 'film'; nearest: 'films'"),
        (Question("films", 0), ConfigError, "k must be at least 1, got 0"),
        (
            Question("films", answer="double"),
            ConfigError,
            "run run has no answer 'double'; it has fused, cross, single",
        ),
        (Question("films", filters={"gener": frozenset()}), ConfigError, "no attribute 'gener'; did you mean 'genre'"),
        (Question("films", filters={"genre": NumberRange()}), ConfigError, "'genre' is text; give a list of values"),
        (Question("films", filters={"year": frozenset()}), ConfigError, "'year' is a number; give a range"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(filtered, question, error, message):
    with pytest.raises(error, match=message):
        filtered.check(question)


def test_the_version_tells_one_training_from_another(place, live):
    assert live.version.startswith("run@")
    assert LiveModel("run", place / "other").version != live.version
    assert live.age_s >= 0


def test_a_sound_run_passes_the_probe_and_one_with_bad_weights_does_not(live, place, tmp_path):
    live.probe()
    broken = shutil.copytree(place / "run", tmp_path / "run")
    best = load_checkpoint(broken / "best.safetensors")
    best.tensors["model"]["embedding.items.weight"][3] = torch.nan
    save_checkpoint(broken / "best.safetensors", best.tensors, best.state)
    with pytest.raises(CheckpointError, match="finite scores, expected 3; the run is broken"):
        LiveModel("run", broken, place / "data").probe()


def test_a_run_that_is_none_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="no such run"):
        LiveModel("run", tmp_path / "nowhere")
