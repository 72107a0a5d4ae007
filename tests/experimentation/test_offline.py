from itertools import count

import numpy as np
import polars as pl
import pytest

from syncrec.errors import DataError
from syncrec.experimentation.direct_model import ITEM_PRIOR, PLACE_PRIOR, add_predictions
from syncrec.experimentation.events import event_frame
from syncrec.experimentation.offline import judge_policy, logged_decisions
from syncrec.experimentation.policies import read_policies
from syncrec.experimentation.population import Answer, Population, TasteModel, simulate

POPULATION = Population(("books", "films"), num_users=900, num_days=4, visits_a_day=1.5)
TASTE = TasteModel(click_rate=0.2, concentration=20)
ITEMS = {domain: [f"{domain}-{number}" for number in range(6)] for domain in POPULATION.domains}
PLACES = 2


@pytest.fixture(scope="module")
def events():
    """A log in which two different items of six are shown by chance."""
    rng, requests = np.random.default_rng(0), count()

    def answer(user, domain):
        shown = rng.permutation(ITEMS[domain])[:PLACES].tolist()
        return Answer(shown, f"r{next(requests)}", "explore", [1 / 6] * PLACES)

    return event_frame(simulate(POPULATION, answer, TASTE))


def ranked(domain):
    return sorted(ITEMS[domain], key=lambda item: -TASTE.appeal(domain, item))[:PLACES]


def recommendations(folder, domain):
    """What `syncrec recommend --all --out` writes of a model that knows the appeals."""
    rows = [(user, rank, item) for user in POPULATION.users for rank, item in enumerate(ranked(domain), start=1)]
    path = folder / f"{domain}.parquet"
    pl.DataFrame(rows, schema=["user", "rank", "item"], orient="row").write_parquet(path)
    return f"{domain}={path}"


def true_rate():
    """CTR of those recommendations: own rates have mean .2, and domains are visited alike."""
    appeals = [TASTE.appeal(domain, item) for domain in POPULATION.domains for item in ranked(domain)]
    return 0.2 * np.mean(np.array(appeals) * [1, 0.9, 1, 0.9])


def table(rows, columns=("user", "domain", "item", "probability")):
    frame = pl.DataFrame(rows, schema=list(columns), orient="row")
    return frame if "position" in columns else frame.with_columns(position=pl.lit(None, pl.Int64))


def test_recommendations_are_judged_rightly_before_anyone_sees_them(events, tmp_path):
    policy = read_policies([recommendations(tmp_path, domain) for domain in POPULATION.domains])
    report = judge_policy(policy, events)
    assert report.warnings == []
    for name in ("IPS", "SNIPS", "DR"):
        assert report.estimates[name].ctr.low < true_rate() < report.estimates[name].ctr.high
    assert report.estimates["DR"].lift.low > 0
    assert report.content()["estimates"]["DR"]["ctr"]["estimate"] == report.estimates["DR"].ctr.estimate


def test_a_policy_for_any_place_takes_no_account_of_positions(events):
    uniform = table([(user, d, item, 1 / 6) for user in POPULATION.users for d in ITEMS for item in ITEMS[d]])
    decisions, _ = logged_decisions(uniform, events)
    assert decisions.weights == pytest.approx(np.ones(len(decisions.users)))
    assert decisions.mass == pytest.approx(np.ones(len(decisions.users)))
    report = judge_policy(uniform, events)
    assert report.estimates["IPS"].ctr == pytest.approx(report.estimates["logged"].ctr)


def test_places_of_which_the_policy_says_nothing_are_left_out(events, tmp_path):
    report = judge_policy(read_policies([recommendations(tmp_path, "books")]), events)
    films = events.filter(pl.col("domain") == "films", pl.col("kind") == "impression").height
    assert report.left_out["impressions in places of which the policy says nothing"] == films
    assert report.warnings == [f"left out: {films:,} impressions in places of which the policy says nothing"]


def test_items_that_the_log_never_shows_are_missing_support(events):
    mixed = [(user, "books", item, 0.5) for user in POPULATION.users for item in ("books-1", "books-new")]
    assert any(line.startswith("missing support") for line in judge_policy(table(mixed), events).warnings)


def test_a_log_without_propensities_is_refused(events):
    bare = events.with_columns(propensity=pl.lit(None, pl.Float64))
    with pytest.raises(DataError, match=r"nothing in the log can judge the policy: [\d,]+ impressions without a prop"):
        judge_policy(table([("user-000001", "books", "books-1", 1.0)]), bare)


def slow_prediction(shown, fold, domain, position, item):
    """The direct model in words: rows of the other half, one by one."""
    others = [row for row in shown.iter_rows(named=True) if row["fold"] != fold and row["domain"] == domain]
    domain_rate = np.mean([row["clicked"] for row in others])

    def rate(place):
        clicks = [row["clicked"] for row in others if row["position"] == place]
        return (sum(clicks) + PLACE_PRIOR * domain_rate) / (len(clicks) + PLACE_PRIOR)

    # Rates of the item's places are those that the other half is judged with: of this half.
    mine = [row for row in shown.iter_rows(named=True) if row["fold"] == fold and row["domain"] == domain]
    mine_rate = np.mean([row["clicked"] for row in mine])

    def rate_of_mine(place):
        clicks = [row["clicked"] for row in mine if row["position"] == place]
        return (sum(clicks) + PLACE_PRIOR * mine_rate) / (len(clicks) + PLACE_PRIOR)

    of_item = [row for row in others if row["item"] == item]
    expected = sum(rate_of_mine(row["position"]) for row in of_item)
    appeal = (sum(row["clicked"] for row in of_item) + ITEM_PRIOR) / (expected + ITEM_PRIOR)
    return rate(position) * appeal


def test_direct_model_equals_its_formula_row_by_row():
    rng = np.random.default_rng(1)
    rows = [
        (f"u{number % 40}", "d", int(rng.integers(1, 3)), f"i{rng.integers(3)}", float(rng.random() < 0.3), number % 2)
        for number in range(400)
    ]
    shown = pl.DataFrame(rows, schema=["user", "domain", "position", "item", "clicked", "fold"], orient="row")
    policy = table([(f"u{n}", "d", f"i{item}", 1 / 2) for n in range(40) for item in (0, 1)]).with_columns(
        fold=pl.col("user").str.slice(1).cast(pl.Int64) % 2
    )
    found = add_predictions(shown, policy)
    for row in found.head(12).iter_rows(named=True):
        place = (row["fold"], row["domain"], row["position"])
        assert row["predicted"] == pytest.approx(slow_prediction(shown, *place, row["item"]))
        both = [slow_prediction(shown, *place, item) for item in ("i0", "i1")]
        assert row["expected"] == pytest.approx(sum(both) / 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user,item\na,x\n", "no domain; name it with DOMAIN="),
        ("user,domain\na,d\n", "no column 'item'"),
        (
            "user,domain,item,probability\na,d,x,often\n",
            "row 1 is bad: user and item must be there",
        ),
        ("user,domain,item,probability\na,d,x,0.5\na,d,,0.5\n", "row 2 is bad"),
        ("user,domain,item,rank\na,d,x,1\na,d,y,1\n", "user 'a' in domain 'd', position 1 sum to 2"),
        ("user,domain,item\na,d,x\na,d,y\n", "user 'a' in domain 'd' sum to 2; a policy has at most 1"),
    ],
)
def test_a_bad_policy_is_refused_in_one_line(tmp_path, text, said):
    path = tmp_path / "policy.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said) as error:
        read_policies([str(path)])
    assert "\n" not in str(error.value)
