"""The recommender against scores of every item, one user at a time."""

import numpy as np
import polars as pl
import pytest
import torch

from builders import in_given_order, query_batch, shake, small_model
from syncrec.data.catalogue import Catalogue
from syncrec.errors import ArtifactError, ConfigError, UnknownDomainError, UnknownItemError, UnknownUserError
from syncrec.runs import TrainedModel
from syncrec.serving.recommender import Recommender, write_recommendations

WEIGHTS = (0.3, 0.0, 1.0)


@pytest.fixture(scope="module")
def model(tiny_dataset):
    model = small_model(Catalogue.of(tiny_dataset))
    shake(model)
    return model.eval()


@pytest.fixture(scope="module")
def recommender(model, tiny_dataset):
    return Recommender(TrainedModel(model, WEIGHTS, 0), tiny_dataset)


def expected(model, dataset, user, domain, answer):
    """(item id, score) of the whole catalogue, best first."""
    times = dataset.timestamps[dataset.user_offsets[user] : dataset.user_offsets[user + 1]].tolist()
    history = dataset.history(user).tolist()
    packed, batch = query_batch(model.catalogue, [history], [domain], model.config.max_length, [times])
    with torch.no_grad():
        vectors = {name: model.query_vectors(in_given_order(packed, y))[0] for name, y in model.encode(batch).items()}
        start, stop = dataset.item_range(domain)
        scores = {name: vector @ model.item_vectors()[start:stop].T for name, vector in vectors.items()}
    scores["fused"] = (1 - WEIGHTS[domain]) * scores["cross"] + WEIGHTS[domain] * scores["single"]
    order = np.argsort(-scores[answer].numpy(), kind="stable")
    return [(dataset.item_tables[domain][i], float(scores[answer][i])) for i in order]


@pytest.mark.parametrize("answer", ["fused", "cross", "single"])
@pytest.mark.parametrize("domain", [0, 1, 2])
def test_the_best_items_come_first_with_their_scores(recommender, model, tiny_dataset, answer, domain):
    for user in (0, 7, 31):
        name = tiny_dataset.domains[domain]
        found = recommender.for_user(tiny_dataset.users[user], name, 5, answer=answer)
        wanted = expected(model, tiny_dataset, user, domain, answer)[:5]
        assert [entry.item for entry in found] == [item for item, _ in wanted]
        assert [entry.score for entry in found] == pytest.approx([score for _, score in wanted], abs=1e-4)
        assert [entry.rank for entry in found] == list(range(1, len(wanted) + 1))


def as_pairs(dataset, user):
    return [
        (dataset.domains[dataset.domain_of(np.asarray([e]))[0]], dataset.item_id(int(e))) for e in dataset.history(user)
    ]


def test_a_history_given_by_ids_equals_that_of_the_user(recommender, tiny_dataset):
    for user in (3, 12):
        times = tiny_dataset.timestamps[tiny_dataset.user_offsets[user] :][: len(tiny_dataset.history(user))].tolist()
        given = recommender.for_history(as_pairs(tiny_dataset, user), "Tools", 4, times=times)
        assert given == recommender.for_user(tiny_dataset.users[user], "Tools", 4)


def test_a_history_without_times_is_of_the_newest_time_in_the_dataset(recommender, tiny_dataset):
    newest = int(tiny_dataset.timestamps.max())
    history = as_pairs(tiny_dataset, 3)
    dated = recommender.for_history(history, "Tools", 4, times=[newest] * len(history))
    assert recommender.for_history(history, "Tools", 4) == dated
    assert recommender.for_history(history, "Tools", 4, times=[0] * len(history)) != dated


def test_times_must_be_as_many_as_events(recommender):
    with pytest.raises(ConfigError, match=r"times must be one for each event of the history \(1\), got 2"):
        recommender.for_history([("Books", "B01")], "Books", 4, times=[1, 2])


def test_an_empty_history_gets_an_answer(recommender):
    assert len(recommender.for_history([], "Books", 5)) == 5


def test_a_history_of_other_domains_alone_gets_an_answer(recommender):
    assert len(recommender.for_history([("Tools", "T01"), ("Food", "F00")], "Books", 5)) == 5


def test_k_above_the_catalogue_gives_the_catalogue(recommender):
    assert sorted(entry.item for entry in recommender.for_history([], "Books", 99)) == [f"B{i:02d}" for i in range(9)]


def test_seen_items_are_left_out_on_request(recommender):
    history = [("Books", "B01"), ("Tools", "T02"), ("Books", "B07")]
    found = recommender.for_history(history, "Books", 99, exclude_seen=True)
    assert {entry.item for entry in found} == {f"B{i:02d}" for i in range(9)} - {"B01", "B07"}
    full = [entry.item for entry in recommender.for_history(history, "Books", 99)]
    assert [entry.item for entry in found] == [item for item in full if item not in ("B01", "B07")]
    assert [entry.rank for entry in found] == list(range(1, 8))


def test_items_seen_longer_ago_than_the_model_looks_are_left_out_too(recommender):
    history = [("Books", "B01"), *[("Tools", "T02")] * 8]
    assert "B01" not in {entry.item for entry in recommender.for_history(history, "Books", 99, exclude_seen=True)}


def test_nothing_is_left_of_a_one_item_catalogue_that_was_seen(recommender):
    assert recommender.for_history([("Food", "F00")], "Food", 3, exclude_seen=True) == []


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_all_users_at_once_equal_one_by_one(recommender, tiny_dataset, exclude_seen):
    batches = recommender.for_all_users("Tools", 3, exclude_seen=exclude_seen, batch_size=17)
    users, items, scores = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert users.tolist() == list(range(tiny_dataset.num_users))
    for user in (0, 16, 17, 59):
        alone = recommender.for_user(tiny_dataset.users[user], "Tools", 3, exclude_seen=exclude_seen)
        assert [tiny_dataset.item_tables[2][i] for i in items[user]] == [entry.item for entry in alone]
        assert scores[user].tolist() == pytest.approx([entry.score for entry in alone], abs=1e-4)


def test_the_file_of_all_users_holds_every_recommendation(recommender, tiny_dataset, tmp_path):
    path = tmp_path / "deep" / "books.parquet"
    batches = recommender.for_all_users("Books", 9, exclude_seen=True, batch_size=17)
    rows = write_recommendations(path, tiny_dataset, "Books", batches)
    frame = pl.read_parquet(path)
    assert frame.columns == ["user", "rank", "item", "score"]
    assert len(frame) == rows
    alone = recommender.for_user("u012", "Books", 9, exclude_seen=True)
    of_user = frame.filter(pl.col("user") == "u012")
    assert of_user["item"].to_list() == [entry.item for entry in alone]
    assert of_user["rank"].to_list() == [entry.rank for entry in alone]
    seen = {item for domain, item in as_pairs(tiny_dataset, 12) if domain == "Books"}
    assert len(alone) == 9 - len(seen)


def test_an_unwritable_place_is_known_before_anything_is_computed(tiny_dataset, tmp_path):
    (tmp_path / "file").write_text("x")

    def batches():
        raise AssertionError("computed")
        yield

    with pytest.raises(ArtifactError):
        write_recommendations(tmp_path / "file" / "a.parquet", tiny_dataset, "Books", batches())


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        (lambda r: r.for_user("u01", "Books", 3), UnknownUserError, "unknown user 'u01'; nearest: "),
        (lambda r: r.for_user("u001", "Book", 3), UnknownDomainError, "unknown domain 'Book'; nearest: 'Books'"),
        (lambda r: r.for_history([("Books", "B99")], "Books", 3), UnknownItemError, "unknown item of Books 'B99'"),
        (lambda r: r.for_history([("Cars", "B01")], "Books", 3), UnknownDomainError, "unknown domain 'Cars'"),
        (lambda r: r.for_user("u001", "Books", 0), ConfigError, "k must be at least 1, got 0"),
    ],
    ids=["user", "domain", "item", "domain of the history", "k"],
)
def test_bad_questions_get_one_clear_line(recommender, question, error, message):
    with pytest.raises(error, match=message):
        question(recommender)


def test_a_model_of_one_answer_gives_it_as_the_fused_one_and_refuses_others(tiny_dataset):
    model = small_model(Catalogue.of(tiny_dataset), name="sasrec").eval()
    recommender = Recommender(TrainedModel(model, None, 0), tiny_dataset)
    assert recommender.for_user("u001", "Books", 3) == recommender.for_user("u001", "Books", 3, answer="cross")
    with pytest.raises(ConfigError, match="has no answer 'single'; it has fused, cross"):
        recommender.for_user("u001", "Books", 3, answer="single")


def test_questions_leave_the_model_as_it_was(model, recommender):
    model.train()
    recommender.for_history([], "Books", 1)
    assert model.training
    model.eval()
    assert all(p.grad is None for p in model.parameters())
