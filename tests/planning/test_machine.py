import json

import pytest
from plans import machine

from syncrec import artifacts
from syncrec.errors import ArtifactError, ConfigError
from syncrec.planning.hardware import GPUS, parse_gpus, published_machine
from syncrec.planning.laws import LAWS
from syncrec.planning.machine import Network, default_place, load_machine


def written(path, **changed):
    values = {**machine().model_dump(), **changed}
    path.write_text(json.dumps(values))
    return path


def test_a_machine_is_read_as_it_was_written(tmp_path):
    artifacts.write_json(tmp_path / "machine.json", machine().model_dump())
    assert load_machine(tmp_path / "machine.json") == machine()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "run"}, "is 'run' of version 1, expected a machine of version 1"),
        ({"schema_version": 9}, "is 'machine' of version 9, expected a machine of version 1"),
        ({"threads": 0}, "threads: Input should be greater than or equal to 1"),
        ({"laws": {}}, "laws lacks packing"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"memory_bytes": "much"}, "memory_bytes"),
    ],
)
def test_a_file_that_is_no_machine_is_refused_in_one_line(tmp_path, changed, said):
    with pytest.raises(ArtifactError, match=said) as error:
        load_machine(written(tmp_path / "machine.json", **changed))
    assert "\n" not in str(error.value)
    assert "`syncrec bench` makes one" in str(error.value)


def test_a_missing_file_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(ArtifactError, match=r"no such file .a machine; `syncrec bench` makes one"):
        load_machine(tmp_path / "gone.json")


def test_the_default_place_is_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_place() == tmp_path / "syncrec" / "machine.json"


def test_devices_of_several_nodes_talk_over_the_slower_link():
    fast, slow = Network(latency_s=0, bytes_per_s=9e9), Network(latency_s=0, bytes_per_s=1e9)
    found = machine(network=fast, between_nodes=slow, devices_a_node=8)
    assert (found.link(8), found.link(9)) == (fast, slow)


@pytest.mark.parametrize(
    ("text", "count", "name"), [("16xH200", 16, "H200"), ("a100", 1, "A100"), ("4 x H100", 4, "H100")]
)
def test_gpus_are_a_number_and_a_kind(text, count, name):
    assert parse_gpus(text) == (count, GPUS[name])


@pytest.mark.parametrize(
    ("text", "said"), [("16", "for example 16xH200"), ("0xH100", "for example"), ("2xH20", "did you mean H200")]
)
def test_other_gpus_are_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_gpus(text)


@pytest.mark.parametrize("name", GPUS)
def test_a_published_machine_is_whole_and_says_that_it_is_not_calibrated(name):
    found = published_machine(GPUS[name])
    assert not found.is_calibrated
    assert set(found.laws) == set(LAWS)
    assert "data sheet" in found.sources[0]
    assert 1 / found.laws["encoder trained"].per_flop < GPUS[name].bfloat16
