"""The live experiment on the page: the numbers of the report, the picture, and what is said if there is none."""

import re
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.testclient import TestClient

from syncrec.experimentation.lifecycle import load_experiment, start_experiment
from syncrec.experimentation.population import Answer, Population, simulate
from syncrec.experimentation.report import ArmDay
from syncrec.serving.http import chart as chart_module
from syncrec.serving.http.app import create_app
from syncrec.serving.http.chart import HEIGHT, WIDTH, ctr_chart
from syncrec.serving.live_experiment import LiveExperiment
from syncrec.serving.store.events import EventStore
from syncrec.serving.store.schema import Event
from syncrec.stats import Interval

START = datetime.now(UTC) - timedelta(days=6)
CHROMIUM = Path("/usr/bin/chromium")
FILE = """
name = "fused-answers"
salt = "one of its own"
minimum_lift = 0.1
min_users = 20
[arms.control]
share = 0.5
answer = "single"
[arms.fused]
share = 0.5
answer = "fused"
"""


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def with_experiment(options, experiment):
    return options.model_copy(update={"experiment": experiment})


def fill(store_address, experiment, num_users=300, num_days=5):
    """Five days of users of whom those in the second arm click half as often again."""
    start_experiment(experiment, START)
    arms, numbers = load_experiment(experiment), count()
    population = Population(("<b>books</b>", "films"), num_users, num_days, start_s=START.timestamp() + 60)

    def answer(user, domain):
        return Answer([f"{domain[0]}{n}" for n in range(4)], f"r{next(numbers)}", arms.assigned_arm(user))

    def clicks(user, domain, items):
        return np.full(len(items), 0.3 if arms.assigned_arm(user) == "fused" else 0.2)

    found = [event for event in simulate(population, answer, clicks) if event.item is not None]
    store = EventStore(store_address)
    store.add(
        [
            Event(e.event_id, e.kind, e.user, e.domain, e.item, int(e.timestamp), e.request_id, e.arm, e.position)
            for e in found
        ]
    )
    store.close()
    return found


@pytest.fixture
def filled_page(with_experiment, experiment):
    events = fill(with_experiment.store, experiment)
    with TestClient(create_app(with_experiment), raise_server_exceptions=False) as client:
        yield events, client.get("/").text


class TestPage:
    def test_counts_are_those_of_the_events(self, filled_page):
        events, page = filled_page
        for arm in ("control", "fused"):
            kinds = [event.kind for event in events if event.arm == arm]
            shown = (f"<td>{kinds.count(kind):,}</td>" for kind in ("impression", "click"))
            users = f"<td>{len({event.user for event in events if event.arm == arm}):,}</td>"
            assert f"<td>all domains</td><td>{arm}</td>{users}{''.join(shown)}" in page

    def test_the_lift_is_judged_and_the_picture_has_a_line_and_a_band_for_each_arm(self, filled_page):
        page = filled_page[1]
        assert re.search(r"<td>fused</td><td>all domains</td>.*<td>gains</td>", page)
        assert page.count("<polygon") == page.count("<polyline") == 2
        assert all(len(line.split()) == 5 for line in re.findall(r'polyline class="line" points="(.*?)"', page))
        assert "running, 100% of users" in page

    def test_names_are_escaped(self, filled_page):
        assert "&lt;b&gt;books&lt;/b&gt;" in filled_page[1]
        assert "<b>books" not in filled_page[1]

    def test_without_events_or_experiment_it_says_so(self, client, with_experiment):
        assert 'id="experiment"' not in client.get("/").text
        with TestClient(create_app(with_experiment)) as opened:
            page = opened.get("/").text
        assert ": draft</h2>" in page
        assert "the log has no impression" in page

    def test_latencies_come_from_the_answers_so_far(self, client):
        assert "has not answered a request for recommendations yet" in client.get("/").text
        for _ in range(3):
            client.post("/v1/recommendations", json={"domain": "books", "user": "u1"})
        assert re.search(
            r"answered 3 requests for recommendations: half of them within [\d.]+ ms", client.get("/").text
        )


class TestView:
    def test_it_is_made_again_after_half_a_minute_only(self, experiment, options, monkeypatch):
        fill(options.store, experiment, num_users=60, num_days=2)
        store, now = EventStore(options.store), 1000.0
        monkeypatch.setattr("syncrec.serving.live_experiment.time", SimpleNamespace(time=lambda: now))
        live = LiveExperiment(experiment, store)
        first = live.view()
        now = 1029.0
        assert live.view() is first
        now = 1031.0
        assert live.view().made_at == now
        store.close()

    def test_a_file_that_broke_is_told(self, experiment, options):
        store = EventStore(options.store)
        live = LiveExperiment(experiment, store)
        experiment.write_text("no TOML")
        assert live.view().state == "unreadable"
        assert str(experiment) in live.view().problem
        store.close()

    def test_too_many_events_are_left_to_the_command(self, experiment, options, monkeypatch):
        fill(options.store, experiment, num_users=20, num_days=1)
        monkeypatch.setattr("syncrec.serving.live_experiment._MOST_EVENTS", 3)
        store = EventStore(options.store)
        view = LiveExperiment(experiment, store).view()
        assert view.report is None
        assert "`syncrec experiment report`" in view.problem
        store.close()


def day(arm, number, estimate, half=0.01):
    return ArmDay(arm, number, Interval(estimate, estimate - half, estimate + half))


def places(text):
    return [tuple(float(part) for part in pair.split(",")) for pair in text.split()]


class TestChart:
    def test_higher_rates_lie_higher_and_days_go_to_the_right(self):
        chart = ctr_chart([day("a", 1, 0.1), day("a", 2, 0.2), day("b", 1, 0.3), day("b", 2, 0.15)])
        (a, b) = (places(shape.line) for shape in chart.shapes)
        assert a[0][0] < a[1][0]
        assert a[0][1] > a[1][1] > b[0][1]
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for shape in chart.shapes for x, y in places(shape.band))

    def test_a_wide_band_of_the_first_days_is_cut(self):
        chart = ctr_chart([day("a", 1, 0.1, half=0.1), day("a", 2, 0.1)])
        heights = [y for _, y in places(chart.shapes[0].band)]
        assert min(heights) >= chart_module._TOP
        assert max(heights) <= HEIGHT

    def test_days_without_impressions_are_left_out(self):
        nothing = ArmDay("a", 1, Interval(float("nan"), 0.0, 1.0))
        assert ctr_chart([nothing]) is None
        chart = ctr_chart([nothing, day("a", 2, 0.1), day("b", 1, 0.1), day("b", 2, 0.1)])
        assert [len(places(shape.line)) for shape in chart.shapes] == [1, 2]

    def test_one_day_and_many_days_have_marks(self):
        assert [text for _, text in ctr_chart([day("a", 1, 0.1)]).day_marks] == ["1"]
        many = ctr_chart([day("a", number, 0.1) for number in range(1, 61)])
        assert 5 <= len(many.day_marks) <= 8


@pytest.mark.parametrize("width", [375, 1280])
def test_in_a_browser_it_fits_and_says_no_error(filled_page, width):
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        tab, faults = browser.new_page(viewport={"width": width, "height": 900}), []
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.set_content(filled_page[1])
        assert faults == []
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.query_selector("#experiment svg").bounding_box()["width"] > 300
        browser.close()
