"""Commands, options and help: a promise to whoever scripts them."""

import inspect
import re

import pytest
import torch

import syncrec.cli
from syncrec.cli import app
from syncrec.models.registry import MODELS

# Options are a promise: whoever changes one changes this list and the changelog.
OPTIONS = {
    "prepare": """--out --domain --columns --preset --overwrite --min-user-interactions --min-item-interactions
        --min-user-domains --max-history --drop-repeats --ties --split --validation-from --test-from --bad-rows --seed
        --engine --workers --address
    """,
    "inspect": "--json",
    "train": "--out --model --config --set --resume --warm-start --track --processes",
    "evaluate": "--split --protocol --seed --dataset --json --processes",
    "baseline": "--split --protocol --seed --refit --out",
    "compare": "--metric --baseline --answer --json",
    "recommend": """--domain --user --history --all -k --top --answer --exclude-seen --dataset --out --json
        --engine --workers --address""",
    "report": "--out --items --users --retrain --dataset",
    "explain": "--user --domain -k --top --items --dataset --json",
    "benchmark": "--out --workers --join --model --seed --dataset --report",
    "plan": """--users --items --domains --events --gpus --processes --machine --config --history --dim --layers
        --experts --loss --negatives --batch-size --set --json""",
    "bench": "--out --device --threads",
    "simulate": "--out --users --events --items --domains --noise-into --noise-items --noise-share --seed",
    "experiment start": "--reason",
    "experiment ramp": "--to --reason",
    "experiment stop": "--reason",
    "experiment report": "--events --by-day --json",
    "experiment offline": "--events --json",
    "serve": "--store --host --port --workers --keys --items --experiment --config --dataset",
    "export-events": "--out --all-kinds",
    "api-key": "--keys --role",
    "demo": "--data --out",
    "doctor": "",
    "models": "",
    "keys": "",
}


class TestSurface:
    @pytest.mark.parametrize("command", OPTIONS)
    def test_options_are_the_promised_ones(self, call, command, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        code, out, _ = call(*command.split(), "--help")
        names = " ".join(line.split("  ")[0] for line in parameters(out))
        shown = re.findall(r"(?<![\w-])--?[a-z][\w-]*", names)
        assert (code, sorted(shown)) == (0, sorted(OPTIONS[command].split()))

    def test_commands_are_the_promised_ones(self, call, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        out = call("--help")[1]
        assert {line.split()[0] for line in parameters(out)} - {"--help", "--version"} == {
            c.split()[0] for c in OPTIONS
        }

    @pytest.mark.parametrize("command", OPTIONS)
    def test_the_list_says_of_a_command_what_its_docstring_says(self, call, command, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        *group, name = command.split()
        shown = " ".join(call(*group, "--help")[1].replace("│", " ").split())  # whatever the width
        parent = app[group[0]] if group else app
        summary = inspect.getdoc(parent[name].default_command).partition("\n\n")[0]
        assert f" {name} {' '.join(summary.split())}" in shown

    def test_the_package_hands_out_what_it_promises_and_nothing_else(self):
        assert all(getattr(syncrec.cli, name) is not None for name in syncrec.cli.__all__)
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = syncrec.cli.nothing

    def test_models_and_keys_are_one_line_each_in_a_pipe(self, call):
        assert [line.split()[0] for line in call("models")[1].splitlines()] == list(MODELS)
        lines = call("keys")[1].splitlines()
        assert all(re.match(r"(model|loss|transfer|training)\.\w+ +\S.*  \S", line) for line in lines)

    def test_an_unknown_command_gets_the_nearest(self, refused):
        code, line = refused("trian", "data")
        assert code == 2
        assert 'Unknown command "trian". Did you mean "train"?' in line

    def test_doctor_says_that_the_installation_works(self, call):
        code, out, _ = call("doctor")
        assert code == 0
        assert all(word in out for word in ("python 3", "torch ", "device: ", "main job: works"))

    def test_a_fault_of_the_system_is_one_line(self, refused, place, monkeypatch):
        def full_disk(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("syncrec.pipeline.open_run", full_disk)
        assert refused("evaluate", place / "run") == (1, "the system says: No space left on device")

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (MemoryError("Unable to allocate 9 GiB"), "Unable to allocate 9 GiB"),
            (MemoryError(), "no more to be had"),
            (torch.OutOfMemoryError("CUDA out of memory.\nTried to"), "CUDA out of memory."),
            (
                RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"),
                "DefaultCPUAllocator: can't allocate memory: 9",
            ),
        ],
    )
    def test_too_little_memory_is_one_line(self, refused, place, monkeypatch, error, told):
        def greedy(*_, **__):
            raise error

        monkeypatch.setattr("syncrec.pipeline.open_run", greedy)
        assert refused("evaluate", place / "run") == (
            1,
            f"not enough memory ({told}); give the process more, or ask for less: in training a smaller "
            "training.batch_size, or loss.kind = sampled",
        )

    @pytest.mark.parametrize("command", [("evaluate",), ("train", "--out", "run")])
    def test_a_process_that_is_alone_speaks_whatever_a_launcher_has_set(self, refused, place, monkeypatch, command):
        monkeypatch.setenv("RANK", "3")
        code, line = refused(*command, place / "nowhere")
        assert code == 1
        assert "no such" in line

    @pytest.mark.parametrize(
        "words", [("evaluate", "caf\udce9"), ("prepare", "--domain", "caf\udce9=a.csv", "--out", "d")]
    )
    def test_an_argument_that_is_not_utf_8_is_one_line(self, refused, words):
        code, line = refused(*words)
        assert code == 2
        assert "caf" in line
        assert "is not UTF-8; rename what it names" in line

    def test_ctrl_c_in_a_command_without_a_state_to_save(self, refused, place, monkeypatch):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr("syncrec.pipeline.open_run", interrupted)
        assert refused("evaluate", place / "run") == (130, "stopped")


def parameters(text):
    """The lines of a help text that name a command or an option, without their frame."""
    lines = [line.strip("│ ").removeprefix("*").strip() for line in text.splitlines() if line.startswith("│")]
    return [line for line in lines if re.match(r"-|[a-z-]+  ", line)]
