"""Writing a log in chunks: what is on disk, and that it is whole or absent."""

import gzip
import json
from collections import namedtuple

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from syncrec.data import simulated_files, simulated_services
from syncrec.data.simulated_files import write_services
from syncrec.data.simulated_services import Services
from syncrec.errors import ArtifactError, ConfigError

SERVICES = Services(num_users=40, num_items=100, num_domains=5, num_events=1200)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(simulated_services, "_CHUNK_EVENTS", 300)


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_file_and_a_folder_hold_the_same_log(tmp_path):
    write_services(SERVICES, tmp_path / "log.csv")
    write_services(SERVICES, tmp_path / "log")
    from_csv = pl.read_csv(tmp_path / "log.csv")
    assert len(from_csv) == 1200
    assert from_csv.columns == ["user", "item", "domain", "timestamp"]
    assert len(list((tmp_path / "log").glob("*.parquet"))) == SERVICES.num_chunks > 2
    assert_frame_equal(from_csv, pl.concat(map(pl.read_parquet, sorted((tmp_path / "log").glob("*.parquet")))))


def test_ids_name_domain_and_number(tmp_path):
    write_services(SERVICES, tmp_path / "log.csv")
    log = pl.read_csv(tmp_path / "log.csv")
    assert log["user"].first() == "user-00000"
    assert log["user"].last() == "user-00039"
    assert log.select((pl.col("item").str.head(-4) == pl.col("domain")).all()).item()
    numbers = log["item"].str.tail(3).cast(pl.Int64)
    assert (numbers.min(), numbers.max()) == (0, 19)


def test_a_compressed_file_is_the_same_log(tmp_path):
    write_services(SERVICES, tmp_path / "log.csv")
    write_services(SERVICES, tmp_path / "log.csv.gz")
    assert gzip.decompress((tmp_path / "log.csv.gz").read_bytes()) == (tmp_path / "log.csv").read_bytes()


def test_the_same_services_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for out in ("log.csv", "log.csv.gz", "log"):
            write_services(SERVICES, tmp_path / name / out)
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two")


def test_what_is_known_stands_beside_the_log(tmp_path):
    write_services(SERVICES, tmp_path / "log.csv")
    write_services(SERVICES, tmp_path / "log")
    known = json.loads((tmp_path / "log.transfer.json").read_text())
    assert known == json.loads((tmp_path / "log" / "transfer.json").read_text())
    assert known["domains"] == SERVICES.known_transfer
    assert (known["users"], known["items"], known["events"], known["seed"]) == (40, 100, 1200, 0)


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log"])
def test_nothing_is_left_by_an_interruption(tmp_path, name):
    def interrupted(numbers):
        yield next(iter(numbers))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_services(SERVICES, tmp_path / name, shown=interrupted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["log.csv", "log"])
def test_a_disk_too_small_is_refused_after_the_first_chunk(tmp_path, monkeypatch, name):
    disk = namedtuple("Disk", "total used free")(10**6, 10**6, 1000)
    monkeypatch.setattr(simulated_files.shutil, "disk_usage", lambda _: disk)
    with pytest.raises(ArtifactError, match=r"needs about .* GB more and the disk has 0\.0; make room"):
        write_services(SERVICES, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["log.parquet", "log.tsv", "log.csv.zst"])
def test_other_extensions_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"a name in \.csv or \.csv\.gz"):
        write_services(SERVICES, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "mine.txt").write_text("")
    with pytest.raises(ArtifactError, match="exists already; choose another --out"):
        write_services(SERVICES, tmp_path / "log")
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["mine.txt"]
