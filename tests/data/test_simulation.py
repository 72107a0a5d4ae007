"""The simulated log: its form, and the regularities it promises."""

import gzip

import numpy as np
import polars as pl
import pytest

from syncrec.data.simulation import KNOWN_TRANSFER, simulate_log

CLUSTER_SIZE = 40


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log of 600 users with the number, cluster and place of every item."""
    path = tmp_path_factory.mktemp("simulated") / "log.csv"
    simulate_log(path, num_users=600, seed=1)
    number = pl.col("item").str.split("-").list.get(1).cast(pl.Int64)
    return pl.read_csv(path).with_columns(number // CLUSTER_SIZE, cluster=number // CLUSTER_SIZE, number=number)


def test_there_are_five_domains_of_known_transfer_and_every_kind_occurs(log):
    assert set(log["domain"]) == set(KNOWN_TRANSFER)
    assert set(KNOWN_TRANSFER.values()) == {"positive", "none", "negative"}


def test_the_form_is_that_of_a_log_in_time_order(log):
    lengths = log.group_by("user").len()["len"]
    assert (len(lengths), lengths.min() >= 15, lengths.max() <= 45) == (600, True, True)
    in_order = log.select((pl.col("timestamp").diff().over("user") > 0).fill_null(value=True).all())
    assert in_order.item()


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    contents = []
    for number, seed in enumerate([3, 3, 4]):
        simulate_log(tmp_path / f"{number}.csv", num_users=20, seed=seed)
        contents.append((tmp_path / f"{number}.csv").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_a_gz_name_gives_the_same_log_compressed(tmp_path):
    simulate_log(tmp_path / "log.csv", num_users=5)
    simulate_log(tmp_path / "log.csv.gz", num_users=5)
    assert gzip.decompress((tmp_path / "log.csv.gz").read_bytes()) == (tmp_path / "log.csv").read_bytes()


def share_of_next_places(log, domains, lag):
    """How often the item that follows an event of `domains` after `lag` of them is the next place of the story."""
    story = log.filter(pl.col("domain").is_in(domains))
    step = pl.col("number") - pl.col("number").shift(lag).over("user")
    return story.select(step == 1).to_series().drop_nulls().mean()


def test_the_last_event_of_any_story_domain_tells_the_next_but_that_of_one_alone_does_not(log):
    everywhere = share_of_next_places(log, ["books", "films", "music"], 1)
    alone = [share_of_next_places(log, [domain], 1) for domain in ("books", "films", "music")]
    assert everywhere > 0.7
    assert max(alone) < 0.5
    assert alone[2] == min(alone)


def test_calls_of_a_user_lie_in_one_cluster_that_nothing_else_tells(log):
    calls = log.filter(pl.col("domain") == "calls")
    usual = calls.group_by("user").agg(pl.col("cluster").mode().first().alias("usual"))
    assert calls.join(usual, on="user").select((pl.col("cluster") == pl.col("usual")).mean()).item() > 0.85
    others = log.filter(pl.col("domain") == "films").group_by("user").agg(pl.col("cluster").mode().first())
    same = others.join(usual, on="user").select((pl.col("cluster") == pl.col("usual")).mean()).item()
    assert same < 3 / 12


def test_the_last_but_one_maps_event_tells_the_next_and_maps_are_never_neighbours(log):
    assert share_of_next_places(log, ["maps"], 2) > 0.85
    assert max(share_of_next_places(log, ["maps"], lag) for lag in (1, 3)) < 0.05
    neighbours = (pl.col("domain") == "maps") & (pl.col("domain").shift(1).over("user") == "maps")
    assert not log.select(neighbours.any()).item()


def test_distances_between_maps_events_in_the_whole_history_vary(log):
    places = log.with_columns(place=pl.int_range(pl.len()).over("user")).filter(pl.col("domain") == "maps")
    gaps = places.select(pl.col("place").diff(2).over("user")).to_series().drop_nulls().to_numpy()
    assert np.std(gaps) > 1.5
