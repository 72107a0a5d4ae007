"""The commands `plan` and `bench`."""

import json

import pytest

from syncrec import artifacts
from syncrec.planning.hardware import GPUS, published_machine

SIZES = ("--users", "50e6", "--items", "20e6", "--domains", "12", "--events", "5e9")


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_plan_for_gpus_that_are_not_there(call):
    code, out, _ = call("plan", *SIZES, "--gpus", "16xH200", "--loss", "sampled")
    assert code == 0
    assert "50,000,000 users, 20,000,000 items, 12 domains, 5,000,000,000 events" in out
    assert "16 x H200 SXM" in out
    assert "NOT CALIBRATED" in out
    assert "Communication of a step" in out


def test_the_same_as_json_with_settings_from_options(call):
    options = ("--dim", "128", "--experts", "6", "--history", "100", "--layers", "2", "--negatives", "64")
    more = ("--loss", "sampled", "--batch-size", "256", "--set", "model.num_cross_experts=3", "--json")
    code, out, _ = call("plan", *SIZES, "--gpus", "16xH200", *options, *more)
    found = json.loads(out)
    assert code == 0
    assert found["inputs"] == {
        "users": 50_000_000,
        "items": 20_000_000,
        "domains": 12,
        "events": 5_000_000_000,
        "processes": 16,
    }
    model = found["config"]["model"]
    assert [model[key] for key in ("dim", "num_experts", "max_length", "num_layers")] == [128, 6, 100, 2]
    assert (found["config"]["loss"]["num_negatives"], found["config"]["training"]["batch_size"]) == (64, 256)
    for layout in found["layouts"]:
        assert sum(layout["memory_bytes"].values()) == pytest.approx(layout["memory_total_bytes"])


def test_a_machine_from_a_file_and_settings_from_a_file(call, tmp_path):
    artifacts.write_json(tmp_path / "m.json", published_machine(GPUS["A100"]).model_dump())
    (tmp_path / "s.toml").write_text("[model]\ndim = 32\n")
    options = ("--machine", tmp_path / "m.json", "--processes", "2", "--config", tmp_path / "s.toml", "--json")
    code, out, _ = call("plan", *SIZES, *options)
    assert code == 0
    assert json.loads(out)["machine"]["name"] == "A100 80GB SXM"
    assert json.loads(out)["config"]["model"]["dim"] == 32


def test_the_machine_in_the_cache_is_taken_by_itself(call, tmp_path):
    artifacts.write_json(tmp_path / "cache/syncrec/machine.json", published_machine(GPUS["A100"]).model_dump())
    assert "A100 80GB SXM" in call("plan", *SIZES)[1]
    assert "H200 SXM" in call("plan", *SIZES, "--gpus", "H200")[1]


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        (("--gpus", "16xH201"), 1, "--gpus knows A100, H100, H200, got 'H201'; did you mean H200?"),
        (("--users", "many", "--gpus", "H100"), 1, "--users must be a whole number of at least 1"),
        (("--users", "0.5", "--gpus", "H100"), 1, "--users must be a whole number of at least 1"),
        (("--users", "inf", "--gpus", "H100"), 1, "--users must be a whole number of at least 1"),
        (("--events", "60e6", "--gpus", "H100"), 1, "events must be at least 150,000,000, got 60,000,000"),
        (("--gpus", "H100", "--dim", "63"), 1, "dim must be a multiple of num_heads"),
        (("--gpus", "2xH100", "--processes", "3"), 2, "--processes 3 does not go with it"),
        (("--machine", "gone.json"), 1, "gone.json: no such file (a machine; `syncrec bench` makes one)"),
        ((), 1, "no measured machine; run `syncrec bench` here, or give --machine FILE or --gpus 16xH200"),
    ],
)
def test_bad_input_is_one_line(refused, changed, code, said):
    rest = dict(zip(SIZES[::2], SIZES[1::2], strict=True)) | dict(zip(changed[::2], changed[1::2], strict=True))
    found, line = refused("plan", *(word for option in rest.items() for word in option))
    assert found == code
    assert said in line


def test_bench_refuses_a_device_that_is_not_there(refused):
    assert refused("bench", "--device", "cuda:77") == (
        1,
        "training.device: 'cuda:77' is not on this machine; use auto or cpu",
    )
    assert "--threads must be at least 0" in refused("bench", "--threads", "-1")[1]
