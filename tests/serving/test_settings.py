"""Settings of the service, and the document that lists them."""

from pathlib import Path

import pytest

from syncrec.errors import ConfigError
from syncrec.serving.settings import ServiceSettings, load_settings, named_runs

DOCUMENT = Path(__file__).parents[2] / "docs" / "serving.md"


def test_every_setting_is_in_the_document_with_its_meaning():
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, field in ServiceSettings.model_fields.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert row.endswith(f"| {field.description} |")


def test_every_route_is_in_the_document(client):
    text = DOCUMENT.read_text(encoding="utf-8")
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in operations:
            assert f"`{method.upper()} {path}`" in text


def test_every_metric_is_in_the_document(client):
    text = DOCUMENT.read_text(encoding="utf-8")
    lines = client.get("/metrics").text.splitlines()
    names = {
        line.split()[2] for line in lines if line.startswith("# TYPE") and not line.split()[2].endswith("_created")
    }
    assert len(names) == 10
    assert sorted(name for name in names if name not in text) == []


def test_settings_come_from_a_file(tmp_path):
    (tmp_path / "service.toml").write_text("max_k = 7\ncors_origins = ['https://shop.example']\n")
    found = load_settings(tmp_path / "service.toml")
    assert (found.max_k, found.cors_origins) == (7, ("https://shop.example",))
    assert load_settings(None) == ServiceSettings()


def test_faults_of_a_file_are_told_all_at_once(tmp_path):
    (tmp_path / "service.toml").write_text("max_k = 0\nrate = 5\n")
    with pytest.raises(ConfigError, match="max_k must be greater than or equal to 1, got 0; unknown key 'rate'"):
        load_settings(tmp_path / "service.toml")


def test_runs_are_named_after_their_directories(tmp_path):
    assert named_runs((tmp_path / "a", tmp_path / "b")) == {"a": tmp_path / "a", "b": tmp_path / "b"}
    with pytest.raises(ConfigError, match="'a' comes twice"):
        named_runs((tmp_path / "a", tmp_path / "b" / "a"))
