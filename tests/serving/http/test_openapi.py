"""Requests made up from the OpenAPI document, sound ones and wrong ones: none is a fault of the service."""

import collections

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from starlette.testclient import TestClient

from syncrec.serving.http.app import create_app
from syncrec.serving.settings import ServeOptions

# What schemathesis hands over is sent in ways that the test client calls old.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def ask_much(client, operation, examples):
    """Send `examples` requests to an operation; counts the answers by their status."""
    answers = collections.Counter()
    sound = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=sound | wrong)
    def ask(case):
        answer = client.request(**case.as_transport_kwargs(base_url="http://testserver"))
        answers[answer.status_code] += 1
        assert answer.status_code < 500, answer.text

    ask()
    return answers


def takes_something(operation):
    """A route without body and parameters has only one request."""
    return bool(operation.body) or bool(operation.query) or bool(operation.path_parameters)


def ask_everything(place, folder, examples):
    (folder / "state").mkdir()
    store = f"sqlite:///{folder / 'events.db'}"
    options = ServeOptions(runs={"run": place / "run"}, store=store, state=folder / "state")
    with TestClient(create_app(options), raise_server_exceptions=False) as client:
        schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
        operations = [found.ok() for found in schema.get_all_operations()]
        numbers = [examples if takes_something(operation) else 1 for operation in operations]
        return {o.label: ask_much(client, o, number) for o, number in zip(operations, numbers, strict=True)}


def test_no_request_is_a_fault_of_the_service(place, tmp_path):
    answers = ask_everything(place, tmp_path, examples=10)
    assert len(answers) == 11
    assert answers["GET /healthz"][200] > 0
    assert {200, 422} <= set(answers["POST /v1/events"])


@pytest.mark.slow
def test_no_request_of_very_many_is_a_fault_of_the_service(place, tmp_path):
    answers = ask_everything(place, tmp_path, examples=1_000)
    assert sum(answers["POST /v1/recommendations"].values()) >= 1_000
