"""What no client should send: each gets a 4xx of one line, and the service goes on."""

import json
import re

import pytest
from starlette.testclient import TestClient

from syncrec.serving.http.app import create_app
from syncrec.serving.live import LiveModel
from syncrec.serving.settings import ServeOptions, ServiceSettings

JSON = {"Content-Type": "application/json"}
EVENT = {"kind": "click", "user": "u", "domain": "films", "item": "f1"}
ASK = {"domain": "films", "user": "u"}


@pytest.fixture(scope="module")
def client(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    settings = ServiceSettings(
        max_body_bytes=20_000, max_k=20, max_history=30, max_listed=50, max_batch=3, max_events=5
    )
    store = f"sqlite:///{folder / 'events.db'}"
    options = ServeOptions(runs={"run": place / "run"}, store=store, state=folder, settings=settings)
    with TestClient(create_app(options), raise_server_exceptions=False) as opened:
        yield opened


def refused(answer, status):
    """The answer is this problem, of one line."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert "\n" not in problem["detail"]
    assert "Traceback" not in answer.text
    return problem["detail"]


BODIES = [
    (b"", 400),
    (b"{", 400),
    (b"\xff\xfe", 400),
    (b"[" * 10_000, 422),
    (b'{"a":' * 3_000, 422),
    (b'{"domain": "films", "filters": {"a":' + b"[" * 10_000, 422),
    (b'{"domain": "films", "user": "\\ud800"}', 400),
    (b'{"domain": "films", "k": 1e999, "user": "u"}', 422),
    (b"null", 422),
    (b"[]", 422),
    (b'"text"', 422),
]


@pytest.mark.parametrize(("body", "status"), BODIES, ids=lambda value: str(value)[:20])
def test_bodies_that_are_no_question(client, body, status):
    refused(client.post("/v1/recommendations", content=body, headers=JSON), status)


QUESTIONS = [
    ({}, "missing required field `domain`"),
    ({"domain": "films"}, r"give user, or history \(\[\] for none\), or both"),
    ({"domain": 3, "user": "u"}, "Expected `str`, got `int`"),
    ({"domain": "film", "user": "u"}, "unknown domain 'film'; nearest: 'films'; the domains are books, films, tools"),
    ({"domain": "films", "user": ""}, "length >= 1"),
    ({"domain": "films", "user": "x" * 257}, "length <= 256"),
    ({"domain": "films", "user": "a\x00b"}, "matching regex"),
    ({"domain": "films", "user": "a\nb"}, "matching regex"),
    ({"domain": "films", "user": "ab\n"}, "matching regex"),
    ({**ASK, "k": 0}, ">= 1"),
    ({**ASK, "k": -1}, ">= 1"),
    ({**ASK, "k": 21}, "k may be 20 at most, got 21"),
    ({**ASK, "k": 10**30}, "k"),
    ({**ASK, "k": "10"}, "Expected `int`, got `str`"),
    ({**ASK, "k": 2.5}, "Expected `int`"),
    ({**ASK, "k": None}, "Expected `int`, got `null`"),
    ({**ASK, "answer": "best"}, "Invalid enum value 'best'"),
    ({**ASK, "exclude_seen": "yes"}, "Expected `bool`"),
    ({**ASK, "nonsense": 1}, "unknown field `nonsense`"),
    ({**ASK, "run": "nothing"}, "unknown run 'nothing'"),
    ({**ASK, "history": [{"domain": "films"}]}, "missing required field `item`"),
    ({**ASK, "history": [{"domain": "films", "item": "f1"}] * 31}, "history may be 30 at most, got 31"),
    ({**ASK, "history": [{"domain": "films", "item": "f1", "timestamp": -1}]}, ">= 0"),
    ({**ASK, "history": [{"domain": "films", "item": "f1", "timestamp": 10**19}]}, "timestamp"),
    ({**ASK, "allow": ["f1"] * 51}, "allow may be 50 at most, got 51"),
    ({**ASK, "deny": "f1"}, "Expected `array`"),
    ({**ASK, "filters": {"genre": ["x"]}}, "no attribute 'genre'; known: none"),
    ({**ASK, "filters": {"genre": {"min": "a"}}}, "Expected `float | null`"),
]


@pytest.mark.parametrize(("question", "message"), QUESTIONS, ids=lambda value: str(value)[:40])
def test_questions_that_cannot_be_answered(client, question, message):
    answer = client.post("/v1/recommendations", json=question)
    detail = refused(answer, 404 if "run" in question else 422)
    assert re.search(message, detail), detail


EVENTS = [
    {**EVENT, "kind": "Click!"},
    {**EVENT, "kind": ""},
    {**EVENT, "kind": "x" * 33},
    {**EVENT, "user": None},
    {**EVENT, "item": ["f1"]},
    {**EVENT, "timestamp": 2**70},
    {**EVENT, "timestamp": 4_000_000_000},
    {**EVENT, "timestamp": "now"},
    {**EVENT, "position": 0},
    {**EVENT, "position": 2**31},
    {**EVENT, "propensity": 1.5},
    {**EVENT, "propensity": 0},
    {**EVENT, "event_id": ""},
    {**EVENT, "event_id": "\x7f"},
    {**EVENT, "domain": "books"},
    [EVENT] * 6,
    [EVENT, {**EVENT, "item": ""}],
    [[EVENT]],
    {"events": [EVENT]},
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda value: str(value)[:90])
def test_events_that_are_none_leave_nothing(client, event):
    refused(client.post("/v1/events", json=event), 422)
    assert client.get("/v1/users/u/history").json()["events"] == []


def test_letters_of_any_kind_are_data_and_nothing_else(client):
    names = [
        "'; DROP TABLE events; --",
        '" OR 1=1 --',
        "%s%d:user",
        "{{ 7*7 }}",
        "<script>",
        "مرحبا",
        "\u202e",
        "é" * 256,
    ]
    for number, name in enumerate(names):
        event = {"kind": "click", "user": name, "domain": "new domain", "item": name, "event_id": f"n{number}"}
        assert client.post("/v1/events", json=event).json()["stored"] == 1
        assert client.post("/v1/recommendations", json={"domain": "films", "user": name}).status_code == 200


def test_a_body_above_the_limit_is_refused_unread(client):
    refused(client.post("/v1/events", content=b" " * 20_001, headers=JSON), 413)
    refused(client.post("/v1/events", content=iter([b" " * 9_000] * 3), headers=JSON), 413)
    lying = client.post("/v1/events", content=json.dumps(EVENT), headers={**JSON, "Content-Length": "9" * 30})
    refused(lying, 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"])
def test_a_form_of_a_strange_page_cannot_send_events(client, kind):
    """Browsers send these without asking; JSON they do not."""
    refused(client.post("/v1/events", content=json.dumps(EVENT), headers={"Content-Type": kind}), 415)


def test_batches_have_a_limit_and_fail_as_a_whole(client):
    many = {"requests": [ASK] * 4}
    assert "requests may be 3 at most" in refused(client.post("/v1/recommendations/batch", json=many), 422)
    refused(client.post("/v1/recommendations/batch", json={"requests": []}), 422)
    refused(client.post("/v1/recommendations/batch", json={"requests": [ASK, {**ASK, "domain": "x"}]}), 422)


@pytest.mark.parametrize("limit", ["0", "-1", "31", "x", "1e3", "١", "9" * 400])
def test_limits_of_a_history_are_numbers(client, limit):
    refused(client.get("/v1/users/u/history", params={"limit": limit}), 422)


@pytest.mark.parametrize("path", ["/v1/users/%00/history", "/v1/users/a%0Ab/history", f"/v1/users/{'x' * 257}/history"])
def test_users_that_are_none(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 422)
    refused(answer, answer.status_code)


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/docs", "/../../etc/passwd", "/v1/users//history"])
def test_routes_that_are_none(client, path):
    assert client.get(path).status_code in (404, 422)


def test_methods_that_are_none(client):
    refused(client.get("/v1/events"), 405)
    refused(client.delete("/v1/recommendations"), 405)


def test_strange_pages_are_not_let_in(client):
    answer = client.options(
        "/v1/events", headers={"Origin": "https://strange.example", "Access-Control-Request-Method": "POST"}
    )
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_an_origin_that_was_named_is_let_in(options):
    settings = ServiceSettings(cors_origins=("https://shop.example",))
    with TestClient(create_app(options.model_copy(update={"settings": settings}))) as client:
        for origin, allowed in [("https://shop.example", "https://shop.example"), ("https://strange.example", None)]:
            answer = client.get("/v1/runs", headers={"Origin": origin})
            assert answer.headers.get("access-control-allow-origin") == allowed


def test_a_fault_of_the_service_tells_nothing_but_that(options, monkeypatch, capfd):
    with TestClient(create_app(options), raise_server_exceptions=False) as client:
        monkeypatch.setattr(LiveModel, "answer", lambda *_: 1 / 0)
        detail = refused(client.post("/v1/recommendations", json=ASK), 500)
        assert "division" not in detail
        monkeypatch.undo()
        assert client.post("/v1/recommendations", json=ASK).status_code == 200
