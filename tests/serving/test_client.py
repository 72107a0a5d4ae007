"""The client against the service itself."""

import pytest
from server import Server

from syncrec.client import Client, ServiceError
from syncrec.serving.messages import EventMessage, Range, RecommendationsRequest


@pytest.fixture(scope="module")
def server(place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("client")
    rows = ["domain,item,year", *(f"films,f{i},{1990 + i}" for i in range(30))]
    (folder / "items.csv").write_text("\n".join(rows))
    store = f"sqlite:///{folder / 'events.db'}"
    with Server(place / "run", place / "other", "--store", store, "--items", folder / "items.csv") as running:
        yield running


@pytest.fixture
def client(server):
    with Client(server.url, timeout_s=60) as opened:
        yield opened


def test_questions_of_every_kind(client):
    answer = client.recommend("films", user="u3", k=4)
    assert len(answer.items) == 4
    assert answer.items == sorted(answer.items, key=lambda entry: -entry.score)
    assert client.recommend("films", user="u3", k=4, run="other", answer="cross").run == "other"
    past = client.recommend("films", history=[("books", "b1"), ("films", "f2")], exclude_seen=True, k=30)
    assert "f2" not in {entry.item for entry in past.items}
    years = client.recommend("films", history=[], filters={"year": Range(min=2000)}, deny=["f12"], k=30)
    assert {entry.item for entry in years.items} <= {f"f{i}" for i in range(10, 30)} - {"f12"}
    assert client.recommend("films", user="u3", allow=["f1"]).items[0].item == "f1"
    requests = [RecommendationsRequest(domain=domain, user="u3", k=1) for domain in ("films", "books")]
    assert [found.domain for found in client.recommend_batch(requests)] == ["films", "books"]


def test_events_come_back_as_history(client):
    user = "a/b?c=d%20é ✓"
    assert client.send_event("click", user=user, domain="films", item="f3", position=1).stored == 1
    events = [EventMessage(kind="click", user=user, domain="films", item="f4", event_id="same")] * 2
    assert client.send_events(events).duplicates == 1
    assert [event.item for event in client.history(user).events] == ["f3", "f4"]
    assert client.recommend("films", user=user).known_user


def test_refusals_are_errors_of_one_line(client):
    with pytest.raises(ServiceError, match=r"unknown domain 'film'; .* \(status 422\)") as caught:
        client.recommend("film", user="u")
    assert caught.value.status == 422
    with pytest.raises(ServiceError, match="administration needs keys"):
        client.reload("run", "/nowhere")


def test_what_is_served(client):
    assert client.is_ready()
    assert [run.run for run in client.runs()] == ["run", "other"]


def test_a_service_that_is_not_there(monkeypatch):
    monkeypatch.setattr("syncrec.client._FIRST_WAIT_S", 0.001)
    with Client("http://127.0.0.1:9") as client:
        assert not client.is_ready()
        with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9: .*refused"):
            client.runs()
    with pytest.raises(ServiceError, match="an address is http://HOST:PORT"):
        Client("127.0.0.1:8000")
