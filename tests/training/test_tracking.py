import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from syncrec.errors import ArtifactError, ConfigError, MissingCapabilityError
from syncrec.training.tracking import JsonLinesLog, make_tracker, read_log


def install(monkeypatch, name, **members):
    """A module that stands in for the real one."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


RECORD = {"epoch": 0, "step": 7, "loss": {"cross": {"Books": 1.5}, "total": 2.0}, "validation": {"ndcg@10": 0.25}}


def lines_of(path):
    return path.read_text().splitlines()


def test_the_log_has_one_json_line_a_record(tmp_path):
    log = JsonLinesLog(tmp_path / "log.jsonl", 0)
    log.record(RECORD)
    log.record({**RECORD, "epoch": 1})
    assert [json.loads(line) for line in lines_of(tmp_path / "log.jsonl")] == [RECORD, {**RECORD, "epoch": 1}]


def test_a_resumed_log_drops_the_epochs_that_run_again(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"epoch": e}) + "\n" for e in range(4)))
    JsonLinesLog(path, 2).record({"epoch": 2, "again": True})
    assert read_log(path) == [{"epoch": 0}, {"epoch": 1}, {"epoch": 2, "again": True}]


def test_a_line_cut_off_by_a_crash_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"epoch": 0}\n{"epoch": 1, "lo')
    assert read_log(path) == [{"epoch": 0}]
    JsonLinesLog(path, 1).record({"epoch": 1})
    assert lines_of(path) == ['{"epoch": 0}', '{"epoch": 1}']


def test_a_number_that_json_does_not_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        JsonLinesLog(tmp_path / "log.jsonl", 0).record({"epoch": 0, "loss": float("nan")})


@pytest.mark.parametrize(
    ("kind", "module", "remedy"),
    [
        ("tensorboard", "tensorboard", r"needs the package tensorboard; pip install 'syncrec\[track\]'"),
        ("mlflow", "mlflow", r"needs the package mlflow-skinny; pip install 'syncrec\[mlflow\]'"),
    ],
)
def test_a_missing_package_is_named_with_the_remedy(kind, module, remedy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingCapabilityError, match=f"--track {kind} {remedy}"):
        make_tracker(kind, tmp_path)


def test_an_unknown_tracker_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="must be tensorboard or mlflow, got 'wandb'"):
        make_tracker("wandb", tmp_path)


def test_tensorboard_gets_every_number_by_its_path(tmp_path, monkeypatch):
    class Writer(list):
        def __init__(self, directory):
            assert directory == str(tmp_path / "tensorboard")

        def add_scalar(self, *arguments):
            self.append(arguments)

        def close(self):
            self.append("closed")

    install(monkeypatch, "tensorboard")
    install(monkeypatch, "torch.utils.tensorboard", SummaryWriter=Writer)
    tracker = make_tracker("tensorboard", tmp_path)
    tracker.record({**RECORD, "note": "text", "flag": True})
    tracker.close()
    assert tracker._writer == [
        ("epoch", 0, 7),
        ("step", 7, 7),
        ("loss/cross/Books", 1.5, 7),
        ("loss/total", 2.0, 7),
        ("validation/ndcg@10", 0.25, 7),
        "closed",
    ]


def test_mlflow_gets_every_number_under_a_name_it_allows(tmp_path, monkeypatch):
    calls = []
    install(
        monkeypatch,
        "mlflow",
        set_tracking_uri=lambda uri: calls.append(("place", uri)),
        exceptions=SimpleNamespace(MlflowException=RuntimeError),
        set_experiment=lambda name: calls.append(("experiment", name)),
        start_run=lambda run_name: calls.append(("run", run_name)),
        log_metrics=lambda metrics, step: calls.append((metrics, step)),
        end_run=lambda: calls.append("ended"),
    )
    tracker = make_tracker("mlflow", tmp_path / "my-run")
    tracker.record(RECORD)
    tracker.close()
    metrics = {
        "epoch": 0.0,
        "step": 7.0,
        "loss/cross/Books": 1.5,
        "loss/total": 2.0,
        "validation/ndcg_at_10": 0.25,
    }
    place = (tmp_path / "my-run" / "mlruns").as_uri()
    assert calls == [("place", place), ("experiment", "syncrec"), ("run", "my-run"), (metrics, 7), "ended"]


def test_mlflow_that_cannot_be_reached_is_one_line_with_a_remedy(tmp_path, monkeypatch):
    def refuse(name):
        raise RuntimeError("no answer from the server\nand more")

    install(
        monkeypatch,
        "mlflow",
        set_tracking_uri=lambda uri: None,
        exceptions=SimpleNamespace(MlflowException=RuntimeError),
        set_experiment=refuse,
    )
    with pytest.raises(MissingCapabilityError, match="no answer from the server; set MLFLOW_TRACKING_URI"):
        make_tracker("mlflow", tmp_path / "my-run")


@pytest.mark.parametrize("content", ['{"x": 1}\n', "[1]\n", '{"epoch": 0}\n3\n', b"\xff\xfe"])
def test_what_is_no_log_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ArtifactError, match=r"log\.jsonl: (line \d is no record of an epoch|no log of a training)"):
        read_log(path)
    with pytest.raises(ArtifactError, match=r"none\.jsonl: no log of a training"):
        read_log(tmp_path / "none.jsonl")
