"""A log of a million events from the simulation through `prepare`, and what `prepare` keeps in memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from syncrec.config import PrepareConfig
from syncrec.data.prepare import Source, prepare
from syncrec.data.simulated_files import write_services
from syncrec.data.simulated_services import Services

MILLION = Services(num_users=10_000, num_items=100_000, num_domains=8, num_events=1_000_000, seed=2)
PEAK = """
import re, sys, threading, time
from pathlib import Path
from syncrec.config import PrepareConfig
from syncrec.data.prepare import Source, prepare

peak, ends = 0, threading.Event()

def watch():
    global peak
    while not ends.wait(0.005):
        peak = max(peak, int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))

thread = threading.Thread(target=watch)
thread.start()
prepare([Source(sys.argv[1])], Path(sys.argv[2]), PrepareConfig())
ends.set()
thread.join()
print(peak)
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("million")
    write_services(MILLION, folder / "log")
    return prepare([Source(str(folder / "log" / "*.parquet"))], folder / "dataset", PrepareConfig())


@pytest.mark.slow
def test_a_million_events_are_in_the_dataset_as_they_were_drawn(dataset):
    chunks = [MILLION.chunk(number) for number in range(MILLION.num_chunks)]
    users, domains, items, times = (
        np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("users", "domains", "items", "times")
    )
    assert (dataset.num_users, len(dataset.items)) == (10_000, 1_000_000)
    assert np.array_equal(np.repeat(np.arange(10_000), np.diff(dataset.user_offsets)), users)
    assert np.array_equal(dataset.timestamps, times)
    ids = [f"{name}-{item:05d}" for name in MILLION.known_transfer for item in range(12_500)]
    expected = np.array(ids)[12_500 * domains + items]
    found = np.array([text for table in dataset.item_tables for text in table])[dataset.items]
    assert np.array_equal(found, expected)


@pytest.mark.slow
def test_the_datasets_domains_are_those_of_known_transfer(dataset):
    known = json.loads((dataset.path.parent / "log" / "transfer.json").read_text())["domains"]
    assert sorted(known) == list(dataset.domains)
    counts = dataset.manifest["counts"]
    assert sum(counts[name]["events"] for name in known) == 1_000_000
    assert counts["positive-1"]["events"] > 2 * counts["positive-4"]["events"]


@pytest.mark.slow
def test_a_csv_file_and_a_folder_give_the_same_dataset(dataset, tmp_path):
    write_services(MILLION, tmp_path / "log.csv")
    again = prepare([Source(str(tmp_path / "log.csv"))], tmp_path / "dataset", PrepareConfig())
    assert again.checksum == dataset.checksum


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="anonymous memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_events(tmp_path):
    peaks = []
    for num_events in (2_000_000, 8_000_000):
        write_services(Services(10_000, 10_000, 8, num_events), tmp_path / "log.csv")
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(tmp_path / "log.csv"), str(tmp_path / f"dataset-{num_events}")],
            env={**os.environ, "POLARS_MAX_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.5 * peaks[0]
