"""Another run is served without a stop; one that is broken never is."""

import gc
import shutil
import weakref

import pytest
import torch
from starlette.testclient import TestClient

from syncrec.checkpoint import load_checkpoint, save_checkpoint
from syncrec.errors import SyncrecError
from syncrec.serving.http.app import create_app, open_registry
from syncrec.serving.service import Service

ASK = {"domain": "films", "user": "u3", "answer": "cross"}


@pytest.fixture
def admin(options, keys):
    path, headers = keys
    with TestClient(create_app(options.model_copy(update={"keys": path})), raise_server_exceptions=False) as client:
        client.headers = headers["admin"]
        yield client


def reload(client, path, run="run"):
    return client.post("/v1/admin/reload", json={"run": run, "path": str(path)})


def version(client):
    return client.post("/v1/recommendations", json=ASK).json()["model_version"]


def test_another_run_takes_over(admin, place):
    before = version(admin)
    answer = reload(admin, place / "other")
    assert answer.status_code == 200
    assert answer.json()["previous_version"] == before
    assert version(admin) == answer.json()["model_version"] != before
    own = admin.post("/v1/recommendations", json={**ASK, "run": "other"}).json()
    assert own["items"] == admin.post("/v1/recommendations", json=ASK).json()["items"]


def test_what_is_served_is_not_searched_for_garbage_and_goes_when_it_is_replaced(options, place):
    registry = open_registry(options)
    assert gc.get_freeze_count() > 0
    live = registry.get("run")
    parts = [weakref.ref(part) for part in (live, live.dataset, live.index)]
    del live
    gc.disable()  # frozen objects that hold each other would never go
    try:
        registry.switch(registry.opened("run", place / "other"))
        assert [part() for part in parts] == [None] * 3
    finally:
        gc.enable()
        gc.unfreeze()


def broken_runs(place, folder):
    """Runs that must not be served, by what is wrong with them."""
    names = ["no checkpoint", "torn checkpoint", "not a number", "no run", "other dataset"]
    copies = {name: shutil.copytree(place / "run", folder / name / "run") for name in names}
    shutil.copytree(place / "data", folder / "data")
    for name in names:
        shutil.copytree(place / "data", folder / name / "data")
    (copies["no checkpoint"] / "best.safetensors").unlink()
    (copies["torn checkpoint"] / "best.safetensors").write_bytes(
        (copies["torn checkpoint"] / "best.safetensors").read_bytes()[:-9]
    )
    best = load_checkpoint(copies["not a number"] / "best.safetensors")
    best.tensors["model"]["embedding.items.weight"][3] = torch.nan
    save_checkpoint(copies["not a number"] / "best.safetensors", best.tensors, best.state)
    (copies["no run"] / "run.json").unlink()
    (folder / "other dataset" / "data" / "items.npy").write_bytes(b"x")
    return {**copies, "nothing": folder / "nowhere", "a file": place / "log.csv"}


def test_a_broken_run_never_answers(admin, place, tmp_path):
    before = version(admin)
    for what, path in broken_runs(place, tmp_path / "broken").items():
        answer = reload(admin, path)
        assert answer.status_code == 409, (what, answer.text)
        assert "\n" not in answer.json()["detail"]
        assert version(admin) == before
    assert reload(admin, place / "run", run="nobody").status_code == 404


def test_a_run_that_fails_once_it_is_switched_to_is_taken_back(admin, place, monkeypatch):
    before = version(admin)

    async def fails(*_):
        raise SyncrecError("does not answer")

    monkeypatch.setattr(Service, "probe", fails)
    assert reload(admin, place / "other").status_code == 422
    assert version(admin) == before
    monkeypatch.undo()
    assert reload(admin, place / "other").status_code == 200


def test_other_workers_follow(options, place, tmp_path):
    first, second = open_registry(options), open_registry(options)
    assert second.follow() == []
    first.follow()
    first.switch(first.opened("run", place / "other"))
    first.publish()
    assert second.follow() == []
    assert second.get("run").version == first.get("run").version
    assert second.get("run").path == place / "other"
    late = open_registry(options)
    assert late.get("run").path == place / "other"


def test_a_worker_that_cannot_follow_goes_on_with_what_it_has(options, place, tmp_path):
    gone = shutil.copytree(place / "run", tmp_path / "gone" / "run")
    shutil.copytree(place / "data", tmp_path / "gone" / "data")
    first, second = open_registry(options), open_registry(options)
    first.switch(first.opened("run", gone))
    first.publish()
    shutil.rmtree(gone)
    (fault,) = second.follow()
    assert "no such run" in fault
    assert second.get("run").path == place / "run"
