import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from syncrec import artifacts
from syncrec.errors import ArtifactError


def make(path, text="hello", **options):
    with artifacts.staged_directory(path, **options) as stage:
        (stage / "part.txt").write_text(text)
        (stage / "deep").mkdir()
        (stage / "deep" / "more.bin").write_bytes(b"\0\1")
        artifacts.write_manifest(stage, "thing", 3, {"colour": "blue"})
    return path


def names(directory):
    return sorted(p.name for p in directory.iterdir())


def test_an_artefact_opens_with_what_its_maker_said(tmp_path):
    manifest = artifacts.open_manifest(make(tmp_path / "a"), "thing", 3)
    assert manifest["colour"] == "blue"
    assert sorted(manifest["files"]) == ["deep/more.bin", "part.txt"]
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_exception(tmp_path, failure):
    with pytest.raises(failure), artifacts.staged_directory(tmp_path / "a") as stage:
        (stage / "part.txt").write_text("half")
        raise failure
    assert names(tmp_path) == []


def test_overwrite_keeps_the_old_one_on_failure(tmp_path):
    make(tmp_path / "a", "old")
    with pytest.raises(ValueError, match="broken"), artifacts.staged_directory(tmp_path / "a", overwrite=True) as stage:
        (stage / "part.txt").write_text("half")
        raise ValueError("broken")
    artifacts.open_manifest(tmp_path / "a", "thing", 3)
    assert (tmp_path / "a" / "part.txt").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_overwrite_replaces_and_leaves_nothing_else(tmp_path):
    make(tmp_path / "a", "old")
    make(tmp_path / "a", "new", overwrite=True)
    assert (tmp_path / "a" / "part.txt").read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_an_old_artefact_is_not_replaced_unasked(tmp_path):
    make(tmp_path / "a", "old")
    with pytest.raises(ArtifactError, match=r"exists already; .*--overwrite"):
        make(tmp_path / "a", "new")
    assert (tmp_path / "a" / "part.txt").read_text() == "old"


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_another_process_puts_there_meanwhile_stays(tmp_path, overwrite):
    with (
        pytest.raises(ArtifactError, match="holds other files" if overwrite else "exists already"),
        artifacts.staged_directory(tmp_path / "data", overwrite=overwrite),
    ):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "theirs.txt").write_text("keep")
    assert names(tmp_path) == ["data"]
    assert names(tmp_path / "data") == ["theirs.txt"]


def test_what_is_no_artefact_is_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years")
    with pytest.raises(ArtifactError, match=r"holds other files \(chapter.tex\) and will not be replaced"):
        make(tmp_path / "thesis", overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="is no directory"):
        make(tmp_path / "file", overwrite=True)
    assert names(tmp_path) == ["file", "thesis"]


@pytest.mark.parametrize(
    "manifest", ['{"name": "an extension"}', "{", '{"kind": "note", "files": {"data.txt": {}}}', "[]"]
)
def test_what_is_beside_an_artefact_is_never_removed(tmp_path, manifest):
    place = tmp_path / "data"
    place.mkdir()
    (place / "manifest.json").write_text(manifest)
    (place / "runs").mkdir()
    (place / "runs" / "precious.txt").write_text("keep")
    with pytest.raises(ArtifactError, match=r"holds other files .* and will not be replaced"):
        make(place, overwrite=True)
    assert (place / "runs" / "precious.txt").read_text() == "keep"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(39, "Directory not empty")])
def test_the_old_one_comes_back_if_the_new_one_cannot_take_its_place(tmp_path, monkeypatch, failure):
    make(tmp_path / "data", "old")
    rename = Path.rename

    def failing(self, target):
        if ".partial-" in self.name:
            raise failure
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises((KeyboardInterrupt, ArtifactError)):
        make(tmp_path / "data", "new", overwrite=True)
    assert names(tmp_path) == ["data"]
    assert (tmp_path / "data" / "part.txt").read_text() == "old"


def test_an_empty_directory_is_taken(tmp_path):
    (tmp_path / "a").mkdir()
    make(tmp_path / "a")
    assert names(tmp_path) == ["a"]


def test_half_written_is_refused(tmp_path):
    (make(tmp_path / "a") / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"no manifest\.json: not a thing, or one that was never finished"):
        artifacts.open_manifest(tmp_path / "a", "thing", 3)


def test_no_directory_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="no such thing"):
        artifacts.open_manifest(tmp_path / "a", "thing", 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "part.txt").write_text("hellO"), r"part\.txt: altered since it was written"),
        (lambda d: (d / "part.txt").write_text("hell"), r"part\.txt: 4 bytes where the manifest says 5"),
        (lambda d: (d / "deep" / "more.bin").unlink(), r"more\.bin: missing; the thing is damaged"),
        (lambda d: (d / "manifest.json").write_text("{"), r"manifest\.json: manifest of a thing is damaged"),
    ],
    ids=["altered", "shortened", "missing", "manifest cut off"],
)
def test_an_altered_artefact_is_refused(tmp_path, change, message):
    change(make(tmp_path / "a"))
    with pytest.raises(ArtifactError, match=message):
        artifacts.open_manifest(tmp_path / "a", "thing", 3)


@pytest.mark.parametrize(("kind", "version"), [("thing", 4), ("dataset", 3)])
def test_another_kind_or_version_is_refused_with_both(tmp_path, kind, version):
    with pytest.raises(ArtifactError, match=f"is a thing of version 3; .*{kind} of version {version}"):
        artifacts.open_manifest(make(tmp_path / "a"), kind, version)


def test_a_file_is_replaced_in_one_step_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "a.json"
    artifacts.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        artifacts.write_json(path, {"a": float("nan")})
    with pytest.raises(RuntimeError), artifacts.replaced_file(path) as place:
        place.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert names(path.parent) == ["a.json"]


def test_files_and_directories_get_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        path = make(tmp_path / "a")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o750
    assert (path / "manifest.json").stat().st_mode & 0o777 == 0o640


def test_json_that_is_missing_or_damaged_names_what_it_was(tmp_path):
    with pytest.raises(ArtifactError, match="no such file \\(a receipt\\)"):
        artifacts.read_json(tmp_path / "a.json", "a receipt")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ArtifactError, match="a receipt is damaged"):
        artifacts.read_json(tmp_path / "a.json", "a receipt")


def test_a_directory_belongs_to_one_process_at_a_time(tmp_path):
    code = "import sys, time; from pathlib import Path; from syncrec.artifacts import exclusive\n"
    code += "with exclusive(Path(sys.argv[1])): print('mine', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "mine\n"
    with pytest.raises(ArtifactError, match="another process is writing it"), artifacts.exclusive(tmp_path):
        pass
    other.kill()
    other.wait()
    with artifacts.exclusive(tmp_path), artifacts.exclusive(tmp_path / "else"):
        pass


def test_a_full_disk_that_numpy_reports_by_numbers_is_named(tmp_path):
    with (
        pytest.raises(ArtifactError, match=r"data: cannot be written: No space left on device \(3 requested and 1"),
        artifacts.clear_write_errors(tmp_path / "data"),
    ):
        raise OSError("3 requested and 1 written")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    left = {name: tmp_path / f".{name}" for name in ("data.partial-1", "data.work-1", "data.old-1", "data2.partial-1")}
    held, young = tmp_path / ".data.partial-held", tmp_path / ".data.partial-young"
    for path in (*left.values(), held, young):
        (path / "deep").mkdir(parents=True)
    for path in (*left.values(), held):
        os.utime(path, (0, 0))
    handle = artifacts._hold(held)
    make(tmp_path / "data")
    os.close(handle)
    kept = {".data.work-1", ".data.old-1", ".data2.partial-1", held.name, young.name, "data"}
    assert set(names(tmp_path)) == kept
    with artifacts.scratch_directory(tmp_path / "data", "work") as scratch:
        assert scratch.is_dir()
    assert set(names(tmp_path)) == kept - {".data.work-1"}
    make(tmp_path / "data", overwrite=True)
    assert held.name not in names(tmp_path)


def test_the_temporary_file_of_a_killed_process_is_removed_and_nothing_else(tmp_path):
    code = "import os, pathlib, sys; from syncrec import artifacts\n"
    code += "with artifacts.replaced_file(pathlib.Path(sys.argv[1])) as place: os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, tmp_path / "log.jsonl"], check=False)
    (left,) = tmp_path.iterdir()
    os.utime(left, (0, 0))
    mine = tmp_path / ".log.jsonl.swp"
    mine.touch()
    with artifacts.replaced_file(tmp_path / "log.jsonl") as place:
        place.write_text("new")
        os.utime(place, (0, 0))
        artifacts.write_text(tmp_path / "log.jsonl", "another")  # which leaves the one that is being written
    assert names(tmp_path) == [mine.name, "log.jsonl"]
    assert (tmp_path / "log.jsonl").read_text() == "new"
