"""The command as a process: signals, kills, pipes, terminals."""

import os
import signal
import subprocess
import sys
import time

import pytest

from jobs import TINY, as_options, names_in
from syncrec.checkpoint import load_checkpoint
from syncrec.cli import main
from syncrec.runs import LAST_NAME

LONGER = as_options([*TINY, "training.epochs=4", "training.batch_size=4", "training.checkpoint_every_steps=1"])
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


SIGNALLED_TRAINING = """
import os, sys
from syncrec.cli import entry_point
from syncrec.training.loop import Trainer

kind, step_of_signal, train = int(sys.argv.pop(1)), int(sys.argv.pop(1)), Trainer._step

def step(self, *arguments):
    if self.state.step == step_of_signal:
        os.kill(os.getpid(), kind)
    return train(self, *arguments)

Trainer._step = step
entry_point()
"""


def shell(*arguments, start=("-m", "syncrec"), stdout=subprocess.PIPE):
    command = [sys.executable, *start, *map(str, arguments)]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def undisturbed(place):
    """The last checkpoint of a training that nothing stopped."""
    assert main(["train", str(place / "data"), "--out", str(place / "undisturbed"), *LONGER]) == 0
    return load_checkpoint(place / "undisturbed" / LAST_NAME)


class TestProcess:
    @pytest.mark.parametrize(
        ("command", "needed"), [([], set()), (["train"], set()), (["prepare"], {"pydantic", "syncrec.config"})]
    )
    def test_help_loads_nothing_heavy(self, command, needed):
        heavy = {"torch", "polars", "numpy", "scipy", "pydantic", "syncrec.config"}
        code = (
            f"import sys; from syncrec.cli import main; code = main([*{command}, '--help'])\n"
            f"print(code, *({heavy} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert set(done.stderr.split()) == {"0", *needed}

    @pytest.mark.parametrize("start", [["-m", "syncrec"], ["-c", "from syncrec.cli import entry_point; entry_point()"]])
    @pytest.mark.parametrize("kind", ["SIGINT", "SIGTERM"])
    @pytest.mark.parametrize(("command", "loaded"), [("--help", "cyclopts"), ("keys", "pydantic")])
    def test_a_signal_while_modules_are_loaded_is_one_line(self, tmp_path, start, kind, command, loaded):
        stop = f"import os, signal, time\nos.kill(os.getpid(), signal.{kind})\ntime.sleep(60)\n"
        (tmp_path / f"{loaded}.py").write_text(stop)
        environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, *start, command], capture_output=True, text=True, check=False, env=environment
        )
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "syncrec: stopped\n")

    @pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize("command", ["--help", "nonsense"])
    def test_a_signal_while_the_interpreter_ends_says_nothing(self, kind, command):
        code = (
            "import atexit, os, time; from syncrec.cli import entry_point\n"
            f"atexit.register(time.sleep, 60); atexit.register(os.kill, os.getpid(), {int(kind)}); entry_point()"
        )
        done = subprocess.run([sys.executable, "-c", code, command], capture_output=True, text=True, check=False)
        assert done.returncode == -kind
        assert len(done.stderr.splitlines()) == (command == "nonsense")

    def test_the_module_gives_exit_code_and_one_line(self):
        process = shell("prepare", "nowhere.csv", "--out", "data")
        out, err = process.communicate(timeout=150)
        assert (process.returncode, out, err) == (1, "", "syncrec: nowhere.csv: no such file\n")

    def test_a_closed_pipe_is_no_fault(self):
        reader, writer = os.pipe()
        os.close(reader)
        process = shell("keys", stdout=writer)
        os.close(writer)
        assert process.communicate(timeout=150)[1] == ""
        assert process.returncode == 1

    def test_a_terminal_gets_columns_that_wrap(self):
        leader, follower = os.openpty()
        done = subprocess.run(
            [sys.executable, "-m", "syncrec", "keys"], stdout=follower, check=True, env={**ENVIRONMENT, "COLUMNS": "80"}
        )
        os.close(follower)
        text = b""
        while chunk := read_terminal(leader):
            text += chunk
        os.close(leader)
        assert done.returncode == 0
        assert max(map(len, text.decode().splitlines())) <= 80

    @pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -9)])
    def test_a_stopped_training_continues_to_the_same_weights(self, call, place, tmp_path, kind, code, undisturbed):
        arguments = ["train", place / "data", "--out", tmp_path / "run", *LONGER]
        process = shell(int(kind), 20, *arguments, start=("-c", SIGNALLED_TRAINING))
        err = process.communicate(timeout=150)[1]
        assert process.returncode == code
        assert err.endswith("and --resume\n") == (kind != signal.SIGKILL)
        assert call(*arguments, "--resume")[0] == 0
        resumed = load_checkpoint(tmp_path / "run" / LAST_NAME)
        assert resumed.state == undisturbed.state
        for name, tensor in undisturbed.tensors["model"].items():
            assert (resumed.tensors["model"][name] == tensor).all(), name

    def test_sigterm_leaves_no_half_dataset(self, tmp_path):
        os.mkfifo(tmp_path / "log.csv")
        process = shell("prepare", tmp_path / "log.csv", "--out", tmp_path / "out" / "data")
        with (tmp_path / "log.csv").open("w"):
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=150)
        assert (process.returncode, out, err) == (130, "", "syncrec: stopped\n")
        assert not (tmp_path / "out").exists() or names_in(tmp_path / "out") == []


def read_terminal(leader):
    """What was written, nothing at the end."""
    try:
        return os.read(leader, 4096)
    except OSError:
        return b""
