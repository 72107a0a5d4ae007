import json
import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from rehearsal import DEFINITION, LIFT, write_experiment
from syncrec.errors import DataError
from syncrec.experimentation.events import read_events
from syncrec.experimentation.lifecycle import load_experiment
from syncrec.experimentation.report import report_experiment
from syncrec.experimentation.tables import alarms, notes, report_tables
from syncrec.rng import numpy_generator


@pytest.fixture(scope="module")
def events(rehearsal):
    return read_events([rehearsal / "events.csv"])


@pytest.fixture(scope="module")
def experiment(rehearsal):
    return load_experiment(rehearsal / "rehearsal.toml")


@pytest.fixture(scope="module")
def report(experiment, events):
    return report_experiment(experiment, events)


def text_of(report):
    return "\n".join([*alarms(report), *notes(report), *(table.to_markdown() for table in report_tables(report))])


def with_arm(events, where, arm):
    return events.with_columns(arm=pl.when(where).then(pl.lit(arm)).otherwise("arm"))


def test_counts_are_those_of_the_log(report, events):
    for row in report.counts:
        of_arm = events.filter(pl.col("arm") == row.arm, (pl.col("domain") == row.domain) if row.domain else True)
        kinds = dict(of_arm.group_by("kind").len().iter_rows())
        shown = of_arm.filter(pl.col("kind") == "impression")
        assert (row.impressions, row.clicks) == (kinds["impression"], kinds["click"])
        assert row.users == shown["user"].n_unique()
        assert row.ctr.estimate == pytest.approx(kinds["click"] / kinds["impression"])


def test_a_true_lift_is_found_and_lies_in_the_interval(report):
    (overall,) = report.overall
    assert overall.verdict == "gains"
    assert overall.lift.low < LIFT < overall.lift.high
    assert overall.difference.low > 0
    assert overall.p_value < 0.01


def test_lift_is_the_quotient_of_the_rates(report):
    control, treatment = (row.ctr.estimate for row in report.counts[:2])
    assert report.overall[0].lift.estimate == pytest.approx(treatment / control - 1)
    assert report.overall[0].difference.estimate == pytest.approx(treatment - control)


def test_the_interval_for_any_number_of_looks_is_wider_than_that_for_one(report):
    one = report.overall[0]
    assert one.lift.low < one.lift_at_one_look.low
    assert one.lift.high > one.lift_at_one_look.high


def test_domains_are_compared_one_by_one(report, experiment, events):
    books = report_experiment(experiment, events.filter(pl.col("domain") == "books"))
    assert [row.domain for row in report.by_domain] == ["books", "films"]
    assert report.by_domain[0].lift == books.overall[0].lift
    assert report.by_domain[0].corrected >= report.by_domain[0].p_value


def test_the_last_look_is_the_report(report):
    assert [look.day for look in report.looks] == [1, 2, 3, 4, 5]
    assert report.looks[-1].lift == report.overall[0].lift
    assert report.looks[-1].p_value == report.overall[0].p_value
    assert report.looks[0].users < report.looks[-1].users


def test_an_earlier_look_is_what_the_report_said_then(report, experiment, events):
    day_2 = experiment.state.started.timestamp() + 2 * 86_400
    # A click may come after midnight: what is reported later counts it to the impression's day.
    shown = events.filter(pl.col("timestamp") < day_2, pl.col("kind") != "click")["request_id"].unique()
    then = report_experiment(experiment, events.filter(pl.col("request_id").is_in(shown.implode())))
    assert then.overall[0].lift == report.looks[1].lift


def test_guardrails_hold_where_nothing_got_worse(report):
    assert {(one.guardrail, one.arm): one.status for one in report.guardrails} == {
        ("films", "syncrec"): "holds",
        ("empty", "control"): "holds",
        ("empty", "syncrec"): "holds",
        ("slow", "syncrec"): "holds",
    }
    empty = report.guardrails[1]
    assert (empty.bound, empty.value) == (0.05, pytest.approx(0.01, abs=0.005))


def test_guardrails_break_where_it_did(experiment, events):
    slower = pl.when(pl.col("arm") == "syncrec").then(pl.col("latency_ms") * 2).otherwise("latency_ms")
    lost = (pl.col("kind") != "request") & (pl.col("arm") == "control") & pl.col("request_id").str.ends_with("3")
    worse = report_experiment(experiment, events.with_columns(latency_ms=slower).filter(~lost))
    status = {(one.guardrail, one.arm): one.status for one in worse.guardrails}
    assert (status["slow", "syncrec"], status["empty", "control"]) == ("broken", "broken")
    assert status["empty", "syncrec"] == "holds"


def test_a_guardrail_without_data_says_so(experiment, events):
    without = report_experiment(experiment, events.filter(pl.col("kind") != "request"))
    assert [one.status for one in without.guardrails] == ["holds", "no data", "no data", "no data"]


def test_too_few_users_give_no_verdict(experiment, events):
    few = events.filter(pl.col("user") < "user-000150")
    report = report_experiment(experiment, few)
    assert report.overall[0].verdict == "too early"
    assert math.isnan(report.overall[0].lift.estimate)
    assert "too early to say" in text_of(report)
    assert "holds" not in {one.status for one in report.guardrails}


def test_a_robot_that_outweighs_all_users_allows_no_verdict(experiment, events):
    robot = (
        events.filter(pl.col("kind") == "impression").head(1).with_columns(user=pl.lit("robot"), event_id=pl.lit(None))
    )
    swarm = pl.concat([robot.with_columns(request_id=pl.lit("robot"), item=pl.lit(str(n))) for n in range(3000)])
    mine = swarm.with_columns(arm=pl.lit(experiment.assigned_arm("robot")), event_id=pl.lit(None, pl.String))
    report = report_experiment(experiment, pl.concat([events, mine]))
    assert report.overall[0].verdict == "too early"


def test_missing_users_ring_the_alarm_and_take_the_verdict_away(experiment, events):
    lost = (pl.col("arm") == "syncrec") & pl.col("user").str.contains("[12]$")
    report = report_experiment(experiment, events.filter(~lost))
    assert report.sample_ratio.p_value < 0.001
    assert {row.verdict for row in [*report.overall, *report.by_domain]} == {"invalid"}
    assert text_of(report).startswith("SAMPLE RATIO MISMATCH (p = ")


def test_users_in_their_arms_ring_no_alarm(report):
    assert report.sample_ratio.p_value > 0.001
    assert report.sample_ratio.misplaced == 0
    assert "sample ratio: as it should be" in text_of(report)


def test_users_whom_the_salt_puts_elsewhere_ring_the_alarm(experiment, events):
    swapped = with_arm(events, pl.col("user") == "user-000003", "control" if in_syncrec(events) else "syncrec")
    one = report_experiment(experiment, swapped)
    assert (one.sample_ratio.misplaced, one.sample_ratio.is_mismatch) == (1, False)
    assert "1 users were answered by another arm" in text_of(one)
    parity = pl.col("user").str.tail(1).is_in(list("02468"))
    many = with_arm(with_arm(events, parity, "control"), ~parity, "syncrec")
    found = report_experiment(experiment, many)
    assert found.sample_ratio.is_mismatch
    assert not found.sample_ratio.has_other_shares
    told = text_of(found)
    assert told.startswith(f"USERS IN THE WRONG ARM: {found.sample_ratio.misplaced:,} of ")
    assert "SAMPLE RATIO MISMATCH" not in told


def in_syncrec(events):
    return "syncrec" in events.filter(pl.col("user") == "user-000003")["arm"].to_list()


def test_users_seen_in_several_arms_are_left_out(report, experiment, events):
    twice = events.filter(pl.col("user") == "user-000003", pl.col("kind") == "impression").head(1)
    other = twice.with_columns(
        arm=pl.lit("control" if in_syncrec(events) else "syncrec"), request_id=pl.lit("x"), event_id=pl.lit("x")
    )
    mixed = report_experiment(experiment, pl.concat([events, other]))
    assert mixed.left_out["users seen in several arms"] == 1
    assert sum(mixed.sample_ratio.users.values()) == sum(report.sample_ratio.users.values()) - 1


def test_events_outside_the_experiment_are_left_out_and_counted(report, experiment, events):
    start = experiment.state.started.timestamp()
    early = events.head(50).with_columns(
        timestamp=pl.lit(start - 10), request_id=pl.lit("e") + pl.col("request_id"), event_id=pl.lit(None, pl.String)
    )
    other = early.with_columns(timestamp=pl.lit(start + 10), arm=pl.lit("other experiment"), request_id=pl.lit("o"))
    more = report_experiment(experiment, pl.concat([events, early, other]))
    assert more.overall == report.overall
    assert more.left_out["impressions outside the experiment or its time"] > 0


def test_what_is_sent_twice_counts_once(report, experiment, events):
    doubled = report_experiment(experiment, pl.concat([events, events.reverse()]))
    assert doubled.overall == report.overall
    assert doubled.counts == report.counts


def test_clicks_without_an_impression_are_counted_apart(report, experiment, events):
    stray = (
        events.filter(pl.col("kind") == "click")
        .head(3)
        .with_columns(request_id=pl.lit("nowhere"), item=pl.Series(["a", "b", "c"]), event_id=pl.lit(None, pl.String))
    )
    more = report_experiment(experiment, pl.concat([events, stray]))
    assert more.left_out["clicks without their impression"] == 3
    assert more.overall == report.overall


def test_a_log_of_something_else_is_refused(experiment, events):
    with pytest.raises(DataError, match=r"no impression of 'rehearsal' \(arms control, syncrec\) in its time"):
        report_experiment(experiment, events.with_columns(arm=pl.lit("other")))


def test_several_arms_are_corrected_for_their_number(rehearsal, tmp_path, events):
    thirds = DEFINITION.replace(
        "[arms.syncrec]\nshare = 0.5", "[arms.syncrec]\nshare = 0.25\n[arms.third]\nshare = 0.25"
    )
    experiment = load_experiment(write_experiment(tmp_path, thirds))
    rearranged = events.with_columns(arm=pl.col("user").map_elements(experiment.assigned_arm, return_dtype=pl.String))
    report = report_experiment(experiment, rearranged)
    first, second = report.overall
    assert [first.arm, second.arm] == ["syncrec", "third"]
    smaller, larger = sorted([first.p_value, second.p_value])
    assert sorted([first.corrected, second.corrected]) == pytest.approx(
        [min(1, 2 * smaller), min(1, max(larger, 2 * smaller))]
    )
    assert not report.sample_ratio.is_mismatch


def test_the_report_is_json(report):
    content = json.loads(json.dumps(report.content(), allow_nan=False))
    assert content["overall"][0]["lift"]["estimate"] == report.overall[0].lift.estimate
    assert content["sample_ratio"]["users"] == report.sample_ratio.users


def test_the_outlook_counts_the_users_that_a_small_lift_takes(report, experiment, events):
    (outlook,) = report.outlook
    assert outlook.users_now == sum(row.users for row in report.counts[:2])
    small = experiment.definition.model_copy(update={"minimum_lift": 0.02})
    later = report_experiment(replace(experiment, definition=small), events)
    (longer,) = later.outlook
    ratio = longer.users_needed / outlook.users_needed
    assert ratio == pytest.approx((np.log1p(0.2) / np.log1p(0.02)) ** 2, rel=0.01)
    assert longer.days_left > 20
    assert f"{longer.users_needed:,} users as active" in text_of(later)


def with_past(events, rate_of):
    """The log with twenty answers of one item to each user before the start; `rate_of(user)` is the click rate."""
    rng, start = np.random.default_rng(0), events["timestamp"].min()
    rows = []
    for user in events["user"].unique(maintain_order=True).to_list():
        for number, is_clicked in enumerate(rng.random(20) < rate_of(user)):
            name, time = f"before-{user}-{number}", start - 86_400 * (20 - number)
            shown = [(f"{name}/{kind}", kind, user, "books", "old", time, name) for kind in ("impression", "click")]
            rows += shown if is_clicked else shown[:1]
    past = pl.DataFrame(rows, schema=events.columns[:7], orient="row")
    return pl.concat([past.cast({"timestamp": events.schema["timestamp"]}), events], how="diagonal")


def own_rate(user):
    """The rate that the rehearsal draws for the user, as in `rehearsal.lifted_clicks`."""
    return numpy_generator(0, f"rate-{user}").beta(2.0, 18.0)


class TestAdjustment:
    def test_what_users_did_before_narrows_the_lift_and_keeps_the_truth(self, experiment, events, report):
        found = report_experiment(experiment, with_past(events, own_rate))
        (adjusted,), (plain,) = found.adjusted, found.overall
        assert plain == report.overall[0]
        assert adjusted.lift.low < LIFT < adjusted.lift.high
        assert adjusted.lift.high - adjusted.lift.low < plain.lift.high - plain.lift.low
        assert adjusted.noise_left < 0.97
        assert adjusted.known_share == 1
        assert "adjusted by what users did before (CUPED)" in text_of(found)

    def test_without_a_time_before_there_is_none_and_the_report_is_as_it_was(self, report):
        assert report.adjusted == []
        assert "CUPED" not in text_of(report)

    def test_a_past_that_is_the_same_for_all_says_nothing(self, experiment, events, report):
        found = report_experiment(experiment, with_past(events, lambda user: 0.0))
        assert found.adjusted == []
        assert found.overall == report.overall

    def test_with_too_few_users_it_is_too_early(self, experiment, events):
        with_all = with_past(events, own_rate)
        few = with_all.filter(
            (pl.col("arm") != "syncrec") | (pl.col("user").hash() % 40 == 0) | pl.col("arm").is_null()
        )
        (adjusted,) = report_experiment(experiment, few).adjusted
        assert math.isnan(adjusted.lift.estimate)
        assert adjusted.p_value == 1

    def test_the_weight_is_the_same_at_every_look(self, experiment, events):
        with_all = with_past(events, own_rate)
        middle = events["timestamp"].median()
        early = report_experiment(experiment, with_all.filter(pl.col("timestamp") < middle))
        late = report_experiment(experiment, with_all)
        assert early.adjusted[0].weight == late.adjusted[0].weight > 0


GUARDED = """
[guardrails.faults]
metric = "errors"
limit = 0.02
[guardrails.none]
metric = "empty_answers"
limit = 0.02
"""


def recorded(events, share, column, value):
    """The log with what the service records: all is well but for a share of the answers of the arm `syncrec`."""
    is_request, rng = pl.col("kind") == "request", np.random.default_rng(0)
    is_hit = (pl.col("arm") == "syncrec") & pl.lit(rng.random(events.height) < share)
    known = {"status": 200.0, "num_items": 2.0}
    own = {
        name: pl.when(is_request).then(pl.when(is_hit & pl.lit(name == column)).then(value).otherwise(usual))
        for name, usual in known.items()
    }
    return events.with_columns(**own)


class TestRequestsOfTheService:
    @pytest.mark.parametrize(
        ("column", "value", "broken", "kept"), [("status", 503, "faults", "none"), ("num_items", 0, "none", "faults")]
    )
    def test_faults_and_empty_answers_break_their_own_guardrail(self, events, tmp_path, column, value, broken, kept):
        experiment = load_experiment(write_experiment(tmp_path, DEFINITION + GUARDED))
        found = report_experiment(experiment, recorded(events, 0.1, column, value)).guardrails
        status = {(one.guardrail, one.arm): one.status for one in found}
        assert status[broken, "syncrec"] == "broken"
        assert status[broken, "control"] == status[kept, "syncrec"] == "holds"
        (value,) = [one.value for one in found if (one.guardrail, one.arm) == (broken, "syncrec")]
        assert value == pytest.approx(0.1, abs=0.02)

    def test_a_log_without_them_knows_no_faults(self, events, tmp_path):
        experiment = load_experiment(write_experiment(tmp_path, DEFINITION + GUARDED))
        found = report_experiment(experiment, events).guardrails
        assert {one.status for one in found if one.guardrail == "faults"} == {"no data"}

    def test_an_answer_that_a_client_logs_too_counts_once_as_the_service_knows_it(self, experiment, events):
        own = recorded(events, 0.0, "status", 0)
        again = own.filter(pl.col("kind") == "request").with_columns(
            event_id=pl.lit(None, pl.String), latency_ms=None, status=None, num_items=None
        )
        twice = report_experiment(experiment, pl.concat([again.cast(own.schema), own]))
        assert twice.guardrails == report_experiment(experiment, own).guardrails
