"""The log of any size: its form, and that what is known of its transfer is there to be found, by counting alone."""

import itertools

import numpy as np
import polars as pl
import pytest

from syncrec.data import simulated_services
from syncrec.data.simulated_services import LEAST_ITEMS, MOST_EVENTS_PER_USER, Services
from syncrec.errors import ConfigError

SERVICES = Services(num_users=2000, num_items=9600, num_domains=8, num_events=120_000, seed=1)
LAGS = range(1, 7)


def events_of(services):
    """All events as one frame: user, name of the domain, item, its cluster and place, time."""
    chunks = [services.chunk(number) for number in range(services.num_chunks)]
    columns = {n: np.concatenate([getattr(c, n) for c in chunks]) for n in ("users", "domains", "items", "times")}
    names = np.array(list(services.known_transfer))
    frame = pl.DataFrame({**columns, "domain": names[columns["domains"]]})
    return frame.with_columns(
        cluster=pl.col("items") // services.num_places, place=pl.col("items") % services.num_places
    )


@pytest.fixture(scope="module")
def log():
    return events_of(SERVICES)


def domains_of(kind, services=SERVICES):
    return [name for name, transfer in services.known_transfer.items() if transfer == kind]


def share_of_next_places(history, domain, lag):
    """How often an item of `domain` is the next place after the event `lag` before it in `history`."""
    num_places = SERVICES.num_places
    before = {name: pl.col(name).shift(lag).over("users") for name in ("cluster", "place")}
    follows = (pl.col("cluster") == before["cluster"]) & (pl.col("place") == (before["place"] + 1) % num_places)
    return history.select(follows.filter(pl.col("domain") == domain).mean()).item()


def share_of_known_clusters(history, domain, lag):
    """How often an item of `domain` is in the cluster of the event `lag` before it in `history`."""
    same = pl.col("cluster") == pl.col("cluster").shift(lag).over("users")
    return history.select(same.filter(pl.col("domain") == domain).mean()).item()


def best_of(share, history, domain):
    return max(share(history, domain, lag) for lag in LAGS)


def own(log, domain):
    return log.filter(pl.col("domain") == domain)


class TestTransfer:
    @pytest.mark.parametrize("domain", domains_of("positive"))
    def test_the_whole_history_tells_a_positive_domain_more_than_its_own(self, log, domain):
        shared = log.filter(pl.col("domain").is_in(domains_of("positive")))
        assert best_of(share_of_next_places, shared, domain) > 0.75
        assert best_of(share_of_next_places, own(log, domain), domain) < 0.45

    def test_the_sparsest_positive_domain_knows_least_by_itself(self, log):
        alone = [best_of(share_of_next_places, own(log, domain), domain) for domain in domains_of("positive")]
        assert alone[-1] == min(alone)

    @pytest.mark.parametrize("domain", domains_of("none"))
    def test_nothing_but_its_own_history_tells_the_cluster_of_a_domain_without_transfer(self, log, domain):
        assert best_of(share_of_known_clusters, own(log, domain), domain) > 0.85
        usual = own(log, domain).group_by("users").agg(pl.col("cluster").mode().min().alias("usual"))
        others = log.filter(pl.col("domain") != domain).join(usual, on="users")
        by_chance = usual.select(  # two users' clusters, of which one knows nothing of the other
            (pl.col("usual") == pl.col("usual").shuffle(seed=0)).mean()
        ).item()
        for _, of_other in others.group_by("domain"):
            agreement = of_other.select((pl.col("cluster") == pl.col("usual")).mean()).item()
            assert agreement == pytest.approx(by_chance, abs=0.03)

    @pytest.mark.parametrize("domain", domains_of("negative"))
    def test_a_negative_domain_is_told_at_a_fixed_distance_in_its_own_history_and_at_none_in_the_whole(
        self, log, domain
    ):
        assert share_of_next_places(own(log, domain), domain, 2) > 0.85
        assert best_of(share_of_next_places, log, domain) < 0.25

    @pytest.mark.parametrize("domain", domains_of("negative"))
    def test_a_negative_domain_never_comes_twice_in_a_row(self, log, domain):
        twice = (pl.col("domain") == domain) & (pl.col("domain").shift(1).over("users") == domain)
        assert not log.select(twice.any()).item()


class TestForm:
    @pytest.mark.parametrize(
        ("num_domains", "counts"), [(2, (2, 0, 0)), (3, (2, 1, 0)), (4, (2, 1, 1)), (5, (3, 1, 1)), (50, (26, 12, 12))]
    )
    def test_domains_are_of_the_kinds_promised(self, num_domains, counts):
        services = Services(100, LEAST_ITEMS * num_domains, num_domains, 3000)
        assert tuple(len(domains_of(kind, services)) for kind in ("positive", "none", "negative")) == counts
        assert set(events_of(services)["domain"]) == set(services.known_transfer)

    def test_numbers_of_users_items_and_events_are_those_asked_for(self, log):
        assert len(log) == 120_000
        assert log["users"].unique().sort().to_list() == list(range(2000))
        assert SERVICES.items_of_domain.tolist() == [1200] * 8
        assert (log["items"].min(), log["items"].max()) == (0, 1199)

    def test_items_that_cannot_be_shared_evenly_differ_by_one(self):
        services = Services(2000, 101, 3, 100_000)
        assert services.items_of_domain.tolist() == [34, 34, 33]
        assert events_of(services).group_by("domains").agg(pl.col("items").n_unique()).sort("domains")[
            "items"
        ].to_list() == [34, 34, 33]

    def test_users_have_half_to_one_and_a_half_times_the_mean_in_time_order(self, log):
        lengths = log.group_by("users").len()["len"]
        assert 28 <= lengths.min() <= lengths.max() <= 94
        assert log.select((pl.col("times").diff().over("users") > 0).fill_null(value=True).all()).item()

    def test_one_event_a_user_is_enough(self):
        assert len(events_of(Services(7, 40, 2, 7))) == 7

    def test_chunks_are_of_whole_users_and_all_events_are_there(self, monkeypatch):
        monkeypatch.setattr(simulated_services, "_CHUNK_EVENTS", 1000)
        services = Services(99, 64, 4, 4001)
        chunks = [services.chunk(number) for number in range(services.num_chunks)]
        assert len(chunks) > 3
        assert np.unique(np.concatenate([c.users for c in chunks])).tolist() == list(range(99))
        assert sum(len(c.users) for c in chunks) == 4001
        assert all(a.users[-1] < b.users[0] for a, b in itertools.pairwise(chunks))

    def test_a_chunk_depends_on_seed_and_number_alone(self, monkeypatch):
        monkeypatch.setattr(simulated_services, "_CHUNK_EVENTS", 1000)
        again = Services(2000, 9600, 8, 120_000, seed=1)
        assert np.array_equal(SERVICES.chunk(5).items, again.chunk(5).items)
        assert not np.array_equal(SERVICES.chunk(5).items, Services(2000, 9600, 8, 120_000, seed=2).chunk(5).items)

    def test_popular_clusters_have_the_share_promised(self, log):
        homes = log.filter(pl.col("domain") == "none-1").group_by("users").agg(pl.col("cluster").mode().min())
        first_quarter = (homes["cluster"] < SERVICES.num_clusters / 4).mean()
        assert first_quarter == pytest.approx((1 / 4) ** 0.5, abs=0.06)


class TestLimits:
    @pytest.mark.parametrize(
        ("sizes", "fault"),
        [
            ((10, 1000, 1, 100), "domains must be at least 2, got 1"),
            ((10, 79, 5, 100), r"at least 16 for each domain, 80 for 5 domains, got 79"),
            ((10, 1000, 5, 9), "9 events for 10 users"),
            ((2, 1000, 5, 2 * MOST_EVENTS_PER_USER + 1), "1 to 100,000 for each user"),
        ],
    )
    def test_what_cannot_be_is_refused(self, sizes, fault):
        with pytest.raises(ConfigError, match=fault):
            Services(*sizes)
