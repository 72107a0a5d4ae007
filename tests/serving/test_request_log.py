"""What the service keeps of its own answers while an experiment runs."""

import asyncio
from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

from syncrec.errors import StoreError
from syncrec.experimentation.lifecycle import load_experiment, start_experiment
from syncrec.serving.http.app import create_app
from syncrec.serving.request_log import RequestLog
from syncrec.serving.settings import ServiceSettings
from syncrec.serving.store.events import EventStore
from syncrec.serving.store.schema import RequestRecord

FILE = """
name = "answers"
salt = "salt"
[arms.control]
share = 0.5
answer = "single"
[arms.fused]
share = 0.5
"""
RECORD = RequestRecord("r1", "anna", "films", 5, "fused", 1.5, 3, 200)


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text(FILE)
    start_experiment(path, datetime.now(UTC))
    return path


def ask(options, *bodies, break_store=False):
    """What becomes of `bodies`, asked one by one of a service that then stops; the records in its store."""
    app = create_app(options)
    with TestClient(app, raise_server_exceptions=False) as client:
        if break_store:
            engine = EventStore(options.store)
            with engine._writer.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE events RENAME TO away")
        answers = [client.post("/v1/recommendations", json={"domain": "films", "k": 3, **body}) for body in bodies]
    store = EventStore(options.store)
    records = list(store.request_rows())
    store.close()
    return answers, records


def test_every_answer_in_an_arm_is_kept_and_no_other(options, experiment):
    bodies = [{"user": "u1"}, {"user": "u2", "allow": []}, {"history": []}, {"user": "u1", "run": "run"}]
    answers, records = ask(options.model_copy(update={"experiment": experiment}), *bodies)
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [(r.request_id, r.user_id, r.num_items, r.status) for r in records] == [
        (answers[0].json()["request_id"], "u1", 3, 200),
        (answers[1].json()["request_id"], "u2", 0, 200),
    ]
    arms = load_experiment(experiment)
    for record in records:
        assert record.arm == arms.assigned_arm(record.user_id)
        assert record.domain == "films"
        assert 0 < record.latency_ms < 60_000


def test_an_answer_that_failed_is_kept_with_its_status(options, experiment):
    (answer,), records = ask(options.model_copy(update={"experiment": experiment}), {"user": "u1"}, break_store=True)
    assert answer.status_code == 503
    assert [(r.user_id, r.num_items, r.status) for r in records] == [("u1", 0, 503)]


def test_a_question_that_is_refused_is_no_fault_of_an_arm(options, experiment):
    (answer,), records = ask(options.model_copy(update={"experiment": experiment}), {"user": "u1", "k": 9999})
    assert answer.status_code == 422
    assert records == []


@pytest.mark.parametrize("has_experiment", [True, False])
def test_nothing_is_kept_without_an_experiment_or_the_wish(options, experiment, has_experiment):
    settings = ServiceSettings(record_requests=not has_experiment)
    options = options.model_copy(update={"experiment": experiment if has_experiment else None, "settings": settings})
    assert ask(options, {"user": "u1"})[1] == []


def test_records_come_back_as_they_were(store):
    store.add_requests([RECORD, RECORD])
    assert list(store.request_rows()) == [RECORD, RECORD]
    assert store.count_requests() == 2
    assert store.count() == 0


def test_records_that_the_store_does_not_take_are_reported_and_stop_nothing():
    class FullStore:
        def add_requests(self, records):
            raise StoreError("no room")

    told = []

    async def use():
        log = RequestLog(FullStore(), lambda number, reason: told.append((number, reason)))
        task = asyncio.create_task(log.run())
        log.add(RECORD)
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(use())
    assert told == [(1, "no room")]
