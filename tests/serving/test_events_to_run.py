"""The loop closes: served, events sent, exported, prepared, trained on from the earlier weights, served again."""

import pytest
from starlette.testclient import TestClient

from jobs import TINY
from syncrec.cli import main
from syncrec.pipeline import prepare, train
from syncrec.serving.http.app import create_app


def test_from_events_to_a_new_run_that_answers(options, keys, place, tmp_path, capsys):
    path, headers = keys
    with TestClient(create_app(options.model_copy(update={"keys": path})), headers=headers["admin"]) as client:
        log = [line.split(",") for line in (place / "log.csv").read_text().splitlines()[1:]]
        log += [
            [f"new{u}", item, "films", str(50_000 + t)]
            for u in range(6)
            for t, item in enumerate(("f1", "fresh", "f3") * 3)
        ]
        events = [{"kind": "click", "user": u, "item": i, "domain": d, "timestamp": int(t)} for u, i, d, t in log]
        for start in range(0, len(events), 500):
            assert client.post("/v1/events", json=events[start : start + 500]).status_code == 200
        before = client.get("/v1/users/u3/history").json()["events"]

        assert main(["export-events", options.store, "--out", str(tmp_path / "log.csv")]) == 0
        assert f"({len(log)} events, 0 left out)" in capsys.readouterr().out
        data = prepare(tmp_path / "log.csv", out=tmp_path / "data")
        assert data.user_index("new5") >= 0
        train(data, tmp_path / "run", settings=TINY, warm_start=place / "run", show_progress=False)
        assert client.post("/v1/admin/reload", json={"run": "run", "path": str(tmp_path / "run")}).status_code == 200

        answer = client.post("/v1/recommendations", json={"domain": "films", "user": "new1", "k": 99}).json()
        assert "fresh" in {entry["item"] for entry in answer["items"]}
        after = client.get("/v1/users/u3/history").json()["events"]
        assert [event["item"] for event in after] == [event["item"] for event in before]
        assert {event["source"] for event in after} == {"dataset"}


def test_a_store_that_is_not_there_is_not_made_by_an_export(tmp_path, capsys):
    assert main(["export-events", f"sqlite:///{tmp_path / 'no.db'}", "--out", str(tmp_path / "log.csv")]) == 1
    assert "no such store; `syncrec serve` makes one" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("all_kinds", [False, True])
def test_the_export_says_what_it_did(store, address, tmp_path, capsys, all_kinds):
    from syncrec.serving.store.schema import Event

    store.add([Event("e1", "click", "u", "books", "b1", 5), Event("e2", "impression", "u", "books", "b2", 6)])
    more = ["--all-kinds"] if all_kinds else []
    assert main(["export-events", address, "--out", str(tmp_path / "log.csv"), *more]) == 0
    assert f"({1 + all_kinds} events, 0 left out)" in capsys.readouterr().out
