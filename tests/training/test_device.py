import os
import subprocess
import sys

import pytest
import torch

from syncrec.errors import ConfigError, MissingCapabilityError
from syncrec.training.device import choose_device, choose_precision, peak_memory_bytes, use_threads

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "taken"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_fastest_that_is_there(has_cuda, has_mps, taken, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    assert choose_device("auto").type == taken


def test_a_device_by_name():
    assert choose_device("cpu") == CPU


def test_a_device_that_is_not_there_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MissingCapabilityError, match="'cuda:1' is not on this machine; use auto or cpu"):
        choose_device("cuda:1")


def test_a_gpu_beyond_the_last_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [choose_device(name).index for name in ("cuda", "cuda:0", "cuda:1")] == [None, 0, 1]
    with pytest.raises(MissingCapabilityError, match="'cuda:7' is not on this machine, whose GPUs are 0 to 1"):
        choose_device("cuda:7")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_what_is_no_device_is_refused_with_the_choices(name):
    with pytest.raises(ConfigError, match=f"must be auto, cpu, cuda, cuda:N or mps, got '{name}'"):
        choose_device(name)


def test_precision_on_the_cpu_is_float32_unless_asked_for():
    assert choose_precision("auto", CPU) == torch.float32
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize("is_native", [True, False])
def test_precision_on_a_gpu_follows_its_hardware(is_native, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_native)
    assert choose_precision("auto", torch.device("cuda")) == (torch.bfloat16 if is_native else torch.float32)


def test_zero_threads_are_all_cores_of_the_process(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert use_threads(2) == torch.get_num_threads() == 2
    assert use_threads(0) == torch.get_num_threads() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("told", ["1", "1,2", " 1"])
def test_zero_threads_are_as_many_as_whoever_started_it_says(monkeypatch, told):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert use_threads(0) == torch.get_num_threads() == 1
    assert use_threads(2) == torch.get_num_threads() == 2


def test_peak_memory_of_the_process_covers_what_it_holds():
    held = torch.ones(30_000_000)
    assert peak_memory_bytes(torch.device("cpu")) > held.nbytes


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the system's own figure is taken")
def test_peak_memory_of_a_process_is_not_that_of_the_one_that_started_it():
    held = torch.ones(150_000_000)
    code = "import torch; from syncrec.training.device import peak_memory_bytes as p; print(p(torch.device('cpu')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < held.nbytes
