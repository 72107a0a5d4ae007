"""The commands of the service: what is wrong is told in one line before anything is listened on."""

import os
import socket

import pytest

from syncrec.serving.http.keys import KeyRing


def test_a_key_is_shown_once_and_kept_as_a_hash(call, tmp_path):
    code, out, err = call("api-key", "shop", "--keys", tmp_path / "keys.toml", "--role", "read", "--role", "write")
    secret = out.strip()
    assert (code, len(out.splitlines())) == (0, 1)
    assert "added shop (read, write) to" in err
    assert KeyRing.load(tmp_path / "keys.toml").find(secret) == ("shop", frozenset({"read", "write"}))
    assert secret not in (tmp_path / "keys.toml").read_text()


def test_a_name_that_is_taken_is_refused(refused, call, tmp_path):
    call("api-key", "shop", "--keys", tmp_path / "keys.toml", "--role", "read")
    code, line = refused("api-key", "shop", "--keys", tmp_path / "keys.toml", "--role", "read")
    assert code == 1
    assert "has a key 'shop' already" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "nowhere: no such run"),
        (["run", "run"], "'run' comes twice; rename one"),
        (["run", "--store", "mysql://x/y"], "--store knows sqlite and postgresql, got 'mysql'"),
        (["run", "--store", "sqlite:////nowhere/at/all.db"], "unable to open database file"),
        (["run", "--keys", "nowhere.toml"], "nowhere.toml: no such configuration file"),
        (["run", "--items", "log.csv"], "log.csv: item 'b"),
        (["run", "--config", "bad.toml"], "max_k must be greater than or equal to 1, got 0; unknown key 'max_kk'"),
        (["run", "--dataset", "run"], "no manifest.json: not a dataset"),
        (["run", "--workers", "0"], "--workers must be at least 1, got 0"),
        (["run", "--port", "70000"], "--port must be from 0 to 65535, got 70000"),
    ],
)
def test_what_cannot_be_served_is_one_line(refused, copy, monkeypatch, options, message):
    monkeypatch.chdir(copy)
    (copy / "bad.toml").write_text("max_k = 0\nmax_kk = 3\n")
    code, line = refused("serve", *options)
    assert code in (1, 2)
    assert message in line
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_a_port_that_is_taken_is_one_line(refused, copy, monkeypatch):
    monkeypatch.chdir(copy)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = refused("serve", "run", "--port", port)
    assert (code, line) == (1, f"127.0.0.1:{port} cannot be listened on; choose another --host or --port")


def test_without_the_extra_it_is_told_what_to_install(refused, copy, monkeypatch):
    from importlib import util

    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "uvicorn" else real(name))
    code, line = refused("serve", copy / "run")
    assert (code, line) == (1, "uvicorn is not installed; pip install 'syncrec[serve]'")
