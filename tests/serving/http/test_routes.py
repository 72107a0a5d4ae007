"""What each route answers to a sound request."""

from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from syncrec.pipeline import open_run
from syncrec.serving.arms import Choice
from syncrec.serving.http.app import create_app

CLICK = {"kind": "click", "user": "zoe", "domain": "films", "item": "f3", "timestamp": 100_000}


def ask(client, **question):
    answer = client.post("/v1/recommendations", json={"domain": "films", "k": 5, **question})
    assert answer.status_code == 200, answer.text
    return answer.json()


def send(client, *events):
    answer = client.post("/v1/events", json=list(events))
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_known_user_gets_what_the_run_says(client, place):
    found = ask(client, user="u3")
    wanted = open_run(place / "run").recommend("u3", "films", 5)
    assert [entry["item"] for entry in found["items"]] == [entry.item for entry in wanted]
    assert [entry["score"] for entry in found["items"]] == pytest.approx([entry.score for entry in wanted], abs=1e-4)
    assert (found["run"], found["arm"], found["answer"], found["domain"]) == ("run", "run", "fused", "films")
    assert found["model_version"].startswith("run@")
    assert found["known_user"]


def test_a_request_has_an_id_which_may_be_its_own(client):
    answer = client.post(
        "/v1/recommendations", json={"domain": "films", "user": "u3"}, headers={"X-Request-ID": "mine-7"}
    )
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "mine-7"
    other = client.get("/healthz", headers={"X-Request-ID": "no good\t"})
    assert len(other.headers["x-request-id"]) == 32


def test_unknown_users_and_items_are_answered_and_counted(client):
    found = ask(client, user="nobody", domain="tools")
    assert (len(found["items"]), found["known_user"]) == (5, False)
    history = [{"domain": "films", "item": "f3"}, {"domain": "films", "item": "gone"}, {"domain": "cars", "item": "c"}]
    assert ask(client, history=history)["unknown_items"] == 2
    text = client.get("/metrics").text
    assert 'syncrec_unknown_users_total{domain="tools"} 1.0' in text
    assert "syncrec_unknown_items_total 2.0" in text


def test_a_history_grows_with_each_event(client):
    before = ask(client, user="zoe")
    assert send(client, CLICK) | {"event_ids": 0} == {"stored": 1, "duplicates": 0, "event_ids": 0}
    after = ask(client, user="zoe")
    assert (before["known_user"], after["known_user"]) == (False, True)
    given = ask(client, history=[{"domain": "films", "item": "f3", "timestamp": 100_000}])
    assert after["items"] == given["items"] != before["items"]


def test_events_of_items_the_run_does_not_know_hide_no_older_ones(client):
    """The run reads the last 20 events; 30 newer ones are of items that came after it was trained."""
    send(client, *({**CLICK, "item": f"f{n}", "timestamp": 100_000 + n} for n in range(3)))
    known = ask(client, user="zoe")
    send(client, *({**CLICK, "item": f"new{n}", "timestamp": 200_000 + n} for n in range(30)))
    found = ask(client, user="zoe")
    assert (found["items"], found["unknown_items"]) == (known["items"], 30)


def test_an_event_id_counts_once(client):
    event = {**CLICK, "event_id": "e1"}
    assert send(client, event, event) == {"stored": 1, "duplicates": 1, "event_ids": ["e1", "e1"]}
    assert send(client, event)["duplicates"] == 1
    assert len(client.get("/v1/users/zoe/history").json()["events"]) == 1


def test_one_event_needs_no_list_and_may_say_where_it_comes_from(client):
    more = {"request_id": "r1", "arm": "run", "position": 1, "propensity": 0.5}
    answer = client.post("/v1/events", json={**CLICK, "kind": "impression", **more})
    assert answer.json()["stored"] == 1
    assert client.get("/v1/users/zoe/history").json() == {"user": "zoe", "known": False, "events": []}


def test_the_history_of_a_user_is_that_of_dataset_and_store(client):
    send(client, {**CLICK, "user": "u3"}, {**CLICK, "user": "u3", "item": "brand-new", "domain": "cars"})
    events = client.get("/v1/users/u3/history?limit=3").json()["events"]
    assert [event["source"] for event in events] == ["dataset", "store", "store"]
    assert [event["in_catalogue"] for event in events] == [True, True, False]


def test_a_user_may_be_called_anything(client):
    name = "a/b?c=d&é ✓ ' OR 1=1 --"
    send(client, {**CLICK, "user": name})
    answer = client.get(f"/v1/users/{quote(name, safe='')}/history")
    assert (answer.json()["user"], len(answer.json()["events"])) == (name, 1)


def test_seen_denied_and_other_items_are_left_out(client):
    send(client, CLICK)
    everything = [entry["item"] for entry in ask(client, user="zoe", k=30)["items"]]
    left = [entry["item"] for entry in ask(client, user="zoe", k=30, exclude_seen=True, deny=["f1"])["items"]]
    assert left == [item for item in everything if item not in ("f1", "f3")]
    assert [entry["item"] for entry in ask(client, user="zoe", allow=["f7"])["items"]] == ["f7"]


def test_items_are_filtered_by_attributes(options, tmp_path):
    rows = ["domain,item,genre,year", *(f"films,f{i},{'drama' if i % 2 else 'crime'},{1990 + i}" for i in range(30))]
    (tmp_path / "items.csv").write_text("\n".join(rows))
    with TestClient(create_app(options.model_copy(update={"items": tmp_path / "items.csv"}))) as client:
        found = ask(client, user="u3", filters={"genre": ["drama"], "year": {"min": 1995, "max": 1999}})
        assert {entry["item"] for entry in found["items"]} == {"f5", "f7", "f9"}
        refused = client.post(
            "/v1/recommendations", json={"domain": "films", "user": "u3", "filters": {"color": ["x"]}}
        )
        assert (refused.status_code, refused.json()["status"]) == (422, 422)


def test_a_batch_is_answered_in_its_order(client):
    requests = [{"domain": domain, "user": "u3", "k": 2} for domain in ("tools", "films", "books")]
    answer = client.post("/v1/recommendations/batch", json={"requests": requests})
    assert [entry["domain"] for entry in answer.json()["answers"]] == ["tools", "films", "books"]
    assert answer.json()["answers"][1]["items"] == ask(client, user="u3", k=2)["items"]


def test_a_certain_run_can_be_asked(client):
    found = ask(client, user="u3", run="other", answer="cross")
    assert (found["run"], found["arm"]) == ("other", None)
    assert found["items"] != ask(client, user="u3", answer="cross")["items"]


def test_arms_come_from_the_chooser(options):
    class ByLetter:
        def choose(self, user_id):
            name = "other" if user_id and user_id > "m" else "run"
            return Choice(name, arm=name)

    with TestClient(create_app(options, ByLetter())) as client:
        assert [ask(client, user=user)["arm"] for user in ("anna", "zoe")] == ["run", "other"]
        assert ask(client, history=[])["arm"] == "run"
        text = client.get("/metrics").text
    assert 'syncrec_answers_total{answer="fused",arm="other",domain="films"} 1.0' in text


def test_the_runs_are_described(client):
    run, other = client.get("/v1/runs").json()
    assert (run["run"], run["model"], run["answers"]) == ("run", "syncrec", ["fused", "cross", "single"])
    assert (other["model"], other["answers"], other["fusion_weights"]) == ("sasrec", ["fused", "cross"], {})
    assert set(run["domains"]) == set(run["fusion_weights"]) == {"books", "films", "tools"}


def test_health_and_metrics(client):
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    ask(client, user="u3")
    text = client.get("/metrics").text
    assert 'syncrec_request_seconds_count{route="/v1/recommendations",status="200"} 1.0' in text
    assert 'syncrec_model_age_seconds{run="other"}' in text
    assert "syncrec_store_lag_seconds 0.0" in text


def test_a_store_that_is_gone_is_told_of_and_found_again(options, empty_postgres):
    question, event = {"domain": "films", "user": "zoe"}, {**CLICK, "event_id": "e1"}
    with TestClient(create_app(options.model_copy(update={"store": empty_postgres.url}))) as client:
        send(client, event)
        empty_postgres.stop()
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        assert client.post("/v1/recommendations", json=question).status_code == 503
        refused = client.post("/v1/events", json={**CLICK, "event_id": "e2"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        empty_postgres.start()
        assert send(client, event, {**CLICK, "event_id": "e2"}) | {"event_ids": 0} == {
            "stored": 1,
            "duplicates": 1,
            "event_ids": 0,
        }
        assert ask(client, user="zoe")["known_user"]


def test_the_document_names_every_route_with_examples_that_work(client):
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert len(document["paths"]) == 11
    for path in ("/v1/recommendations", "/v1/recommendations/batch", "/v1/events"):
        content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        answer = client.post(path, json=content["example"])
        assert answer.status_code == 200, answer.text
