"""Engines with two workers each: order, errors, deaths, and what is said of wrong settings."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines import NUM_WORKERS, opened
from syncrec.cluster.engine import ENGINE_NAMES, attempt, open_engine
from syncrec.errors import ConfigError, DataError, MissingCapabilityError, WorkerError


@pytest.fixture(params=ENGINE_NAMES)
def engine(request):
    with opened(request.param) as found:
        yield found


def double(number):
    time.sleep(0.02 * (number == 0))
    return 2 * number


def refuse(number):
    if number == 3:
        raise DataError("log.csv:3: no")
    return number


def die_once(flag):
    """Kill this worker, unless one died for `flag` before."""
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return "done"
    os.kill(os.getpid(), signal.SIGKILL)


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def meet(file):
    """The process that makes `file`, once there is one for each worker beside it."""
    Path(file).touch()
    deadline = time.monotonic() + 60
    while len(list(Path(file).parent.iterdir())) < NUM_WORKERS and time.monotonic() < deadline:
        time.sleep(0.02)
    return os.getpid()


def test_results_come_in_order_and_errors_as_they_are(engine, tmp_path):
    assert engine.num_workers == NUM_WORKERS
    assert list(engine.map(double, range(20))) == list(range(0, 40, 2))
    met = set(engine.map(meet, [str(tmp_path / f"{n}") for n in range(NUM_WORKERS)]))
    assert len(met - {os.getpid()}) == NUM_WORKERS
    with pytest.raises(DataError, match=r"^log\.csv:3: no$"):
        list(engine.map(refuse, range(8)))
    assert list(engine.map(double, [4])) == [8]


def test_the_task_of_a_killed_dask_worker_is_done_by_another(tmp_path):
    with opened("dask") as engine:
        assert list(engine.map(die_once, [str(tmp_path / "died"), str(tmp_path / "died")])) == ["done"] * 2


@pytest.mark.parametrize("name", ["processes", pytest.param("dask", marks=pytest.mark.slow)])
def test_a_task_that_kills_its_workers_is_one_line(name):
    with opened(name) as engine, pytest.raises(WorkerError, match="perhaps for want of memory"):
        list(engine.map(die, [0]))


def test_processes_end_with_their_parent():
    code = """if __name__ == "__main__":
        import os
        from syncrec.cluster.engine import open_engine
        with open_engine("processes", 1) as engine:
            print(*engine.map(os.getpgid, [0]), *(p for p in engine._pool._processes), flush=True)
            os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    worker = int(done.stdout.split()[1])
    for _ in range(100):
        if not is_alive(worker):
            return
        time.sleep(0.05)
    pytest.fail("the worker goes on without its parent")


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="workers must be at least 1, got 0"), open_engine("processes", 0):
        pass
    with (
        pytest.raises(ConfigError, match="the engine processes has none, take dask"),
        open_engine("processes", 1, "tcp://somewhere:1"),
    ):
        pass


def test_an_engine_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(MissingCapabilityError, match=r"distributed is not installed; pip install 'syncrec\[cluster\]'"),
        open_engine("dask", 1),
    ):
        pass


def test_an_address_where_nobody_answers_is_named(monkeypatch):
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    monkeypatch.setattr("syncrec.cluster.on_dask._CONNECT_TIMEOUT_S", 1)
    for address in ("tcp://127.0.0.1:1", "nowhere"):
        with (
            pytest.raises(WorkerError, match=f"^{address}: no Dask scheduler answers"),
            open_engine("dask", 1, address),
        ):
            pass


def test_workers_of_a_running_scheduler_are_used_and_waited_for(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0
    ) as cluster:
        with open_engine("dask", 1, cluster.scheduler_address) as engine:
            assert (engine.num_workers, list(engine.map(double, [1]))) == (1, [2])
        file = tmp_path / "scheduler.json"
        file.write_text(f'{{"address": "{cluster.scheduler_address}"}}')
        monkeypatch.setattr("syncrec.cluster.on_dask._WORKERS_TIMEOUT_S", 1)
        with pytest.raises(WorkerError, match="1 of 3 workers came within 1 s"), open_engine("dask", 3, str(file)):
            pass


def test_an_attempt_counts_whole_or_not_at_all(tmp_path):
    with pytest.raises(DataError), attempt(tmp_path / "part") as directory:
        (directory / "file").write_text("half")
        raise DataError("stop")
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        with attempt(tmp_path / "part") as directory:
            (directory / "file").write_text(text)
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
    assert (tmp_path / "part" / "file").read_text() == "first"
