"""Keys, roles and rates: deny is what happens by default."""

import base64

import pytest
from starlette.testclient import TestClient

from syncrec.errors import ConfigError
from syncrec.serving.http.app import create_app
from syncrec.serving.http.keys import KeyRing, add_key
from syncrec.serving.settings import ServiceSettings

ASK = {"domain": "films", "user": "u3"}
EVENT = {"kind": "click", "user": "u", "domain": "films", "item": "f1"}
OPEN = {"/healthz", "/readyz"}
BODIES = {
    "/v1/recommendations": ASK,
    "/v1/recommendations/batch": {"requests": [ASK]},
    "/v1/events": EVENT,
    "/v1/admin/reload": {"run": "run", "path": "/nowhere"},
}
NEEDED = {"/v1/events": "write", "/v1/admin/reload": "admin"}


@pytest.fixture
def locked(options, keys):
    path, headers = keys
    with TestClient(create_app(options.model_copy(update={"keys": path}))) as client:
        yield client, headers


def routes(client):
    return [
        (route.path.replace("{user:path}", "u3"), next(iter(route.methods - {"HEAD"}))) for route in client.app.routes
    ]


def call(client, path, method, headers=None):
    body = {"json": BODIES[path]} if method == "POST" else {}
    return client.request(method, path, headers=headers, **body)


def test_no_route_answers_without_the_right_key(locked):
    client, headers = locked
    assert len(routes(client)) == 11
    for path, method in routes(client):
        if path in OPEN:
            assert call(client, path, method).status_code == 200
            continue
        role = NEEDED.get(path, "read")
        wrong = [None, {"Authorization": "Bearer x"}, {"Authorization": "Bearer "}, {"Authorization": "Basic !!"}]
        for header in wrong:
            answer = call(client, path, method, header)
            assert answer.status_code == 401, path
            assert "www-authenticate" in answer.headers
        for other in {"read", "write"} - {role}:
            assert call(client, path, method, headers[other]).status_code == 403, path
        for right in (role, "admin"):
            expected = 409 if path == "/v1/admin/reload" else 200
            assert call(client, path, method, headers[right]).status_code == expected, path


def test_without_keys_nobody_administers(client):
    answer = call(client, "/v1/admin/reload", "POST")
    assert (answer.status_code, answer.json()["detail"]) == (
        403,
        "administration needs keys: start the service with --keys FILE",
    )


def test_a_browser_sends_the_key_as_a_password(locked):
    client, headers = locked
    secret = headers["read"]["Authorization"].removeprefix("Bearer ")
    basic = {"Authorization": "Basic " + base64.b64encode(f"me:{secret}".encode()).decode()}
    assert client.get("/", headers=basic).status_code == 200
    assert client.get("/").headers["www-authenticate"].startswith("Basic")


def test_the_file_holds_no_key_and_is_its_owners_alone(keys):
    path, headers = keys
    text = path.read_text()
    for header in headers.values():
        assert header["Authorization"].removeprefix("Bearer ") not in text
    assert path.stat().st_mode & 0o077 == 0


def test_a_key_is_found_with_its_roles(tmp_path):
    first = add_key(tmp_path / "keys.toml", "shop", ("read", "write"))
    second = add_key(tmp_path / "keys.toml", "ops", ("admin",))
    ring = KeyRing.load(tmp_path / "keys.toml")
    assert ring.find(first) == ("shop", frozenset({"read", "write"}))
    assert ring.find(second) == ("ops", frozenset({"admin"}))
    assert [ring.find(wrong) for wrong in ("", "x", first[:-1], first.upper(), "\ud800")] == [None] * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key; `syncrec api-key NAME"),
        ("key = 3", "key"),
        ('[[key]]\nname = "a"\nroles = ["root"]\nsha256 = "0"', "roles.0.*sha256"),
        ('[[key]]\nname = "a"\nroles = []\nsha256 = "' + "0" * 64 + '"', "roles"),
        (2 * ('[[key]]\nname = "a"\nroles = ["read"]\nsha256 = "' + "0" * 64 + '"\n'), "the key 'a' is there twice"),
        ("[[key", "is not TOML"),
    ],
)
def test_a_file_of_keys_with_faults_is_refused(tmp_path, text, message):
    (tmp_path / "keys.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        KeyRing.load(tmp_path / "keys.toml")


@pytest.mark.parametrize(("name", "roles"), [("a", ("read",)), ('b"\n', ("read",)), ("b", ("root",)), ("b", ())])
def test_a_key_that_cannot_be_added_leaves_the_file_as_it_was(tmp_path, name, roles):
    path = tmp_path / "keys.toml"
    add_key(path, "a", ("read",))
    before = path.read_bytes()
    with pytest.raises(ConfigError):
        add_key(path, name, roles)
    assert path.read_bytes() == before


def test_each_key_has_its_own_rate(options, keys):
    path, headers = keys
    settings = ServiceSettings(rate_per_s=0.001, rate_burst=3)
    with TestClient(create_app(options.model_copy(update={"keys": path, "settings": settings}))) as client:
        codes = [client.get("/v1/runs", headers=headers["read"]).status_code for _ in range(5)]
        assert codes == [200, 200, 200, 429, 429]
        late = client.get("/v1/runs", headers=headers["read"])
        assert int(late.headers["retry-after"]) > 900
        assert client.get("/v1/runs", headers=headers["admin"]).status_code == 200
        assert client.get("/healthz").status_code == 200
