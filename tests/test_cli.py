"""The command line as its user meets it: what is printed, written, refused, and the exit code."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from jobs import DOMAINS, NUM_ITEMS, TINY, as_options, real_log, write_small_log
from syncrec.checkpoint import load_checkpoint
from syncrec.cli import main
from syncrec.evaluation import load_result
from syncrec.runs import LAST_NAME

TINY_OPTIONS = as_options(TINY)

# Options are a promise: whoever changes one changes this list and the changelog.
OPTIONS = {
    "prepare": """--out --domain --columns --preset --overwrite --min-user-interactions --min-item-interactions
        --min-user-domains --max-history --drop-repeats --ties --split --validation-from --test-from --bad-rows --seed
    """,
    "train": "--out --model --config --set --resume --track",
    "evaluate": "--split --protocol --seed --dataset --json",
    "recommend": "--domain --user --history --all -k --top --answer --exclude-seen --dataset --out --json",
    "demo": "--data --out",
    "doctor": "",
    "models": "",
    "keys": "",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with `log.csv`, the dataset `data` and the run `run`, all made by the command line; read only."""
    folder = tmp_path_factory.mktemp("job")
    log = write_small_log(folder / "log.csv")
    assert main(["prepare", str(log), "--out", str(folder / "data")]) == 0
    assert main(["train", str(folder / "data"), "--out", str(folder / "run"), *TINY_OPTIONS]) == 0
    return folder


@pytest.fixture
def copy(place, tmp_path):
    """A copy of `place` to damage."""
    return Path(shutil.copytree(place, tmp_path / "copy"))


@pytest.fixture
def call(capsys):
    """Runs a command in this process; gives exit code, output and errors."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def refused(call):
    """Runs a command that must be refused in one line; gives exit code and line."""

    def run(*arguments):
        code, _, err = call(*arguments)
        lines = [line for line in err.splitlines() if line.startswith("syncrec: ")]
        assert len(lines) == 1
        assert err.endswith(lines[0] + "\n")
        assert "Traceback" not in err
        return code, lines[0].removeprefix("syncrec: ")

    return run


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


class TestMainJob:
    def test_real_log_from_prepare_to_recommendations(self, call, tmp_path):
        log, data, run = real_log(), tmp_path / "data", tmp_path / "run"
        code, out, err = call("prepare", log, "--out", data, "--max-history", 20)
        assert code == 0
        assert re.search(r"^dataset: .*data  \([\d,]+ events, 500 users, [\d,]+ items\)$", out, re.MULTILINE)
        assert "16,123 events" in err
        settings = as_options(["model.dim=8", "training.epochs=1", "training.threads=1", "loss.kind=sampled"])
        code, out, err = call("train", data, "--out", run, *settings)
        assert (code, err) == (0, "")
        assert "best epoch 1" in out
        assert "weight of the single answer: Books " in out
        code, out, _ = call("evaluate", run, "--json", tmp_path / "result.json")
        assert code == 0
        assert "full, test split" in out
        assert (
            load_result(tmp_path / "result.json").num_queries.keys()
            == load_result(run / "results" / "test-full.json").num_queries.keys()
        )
        code, out, _ = call("recommend", run, "--user", "A2NQ50LAQCKXPR", "--domain", "Video_Games", "-k", 3)
        assert code == 0
        assert [line.split()[0] for line in out.splitlines()] == ["1", "2", "3"]


class TestPrepare:
    def test_counts_of_each_domain_and_the_total_are_printed(self, call, place, tmp_path):
        code, out, err = call("prepare", place / "log.csv", "--out", tmp_path / "data", "--min-user-interactions", 8)
        assert code == 0
        assert [line.partition(":")[0] for line in out.splitlines()] == [*DOMAINS, "dataset"]
        assert re.search(r"^filter k-core \(min_user_interactions 8\): .* 50 users, .* -> ", err, re.MULTILINE)

    def test_a_filter_that_leaves_all_says_so(self, call, place, tmp_path):
        assert (
            "filter k-core: nothing to leave out"
            in call("prepare", place / "log.csv", "--out", tmp_path / "data", "--min-user-interactions", 1)[2]
        )

    def test_files_of_one_domain_each_and_other_column_names(self, call, tmp_path):
        for name in ("a", "b"):
            rows = "\n".join(f"u{user},{name}{item},{item}" for user in range(4) for item in range(6))
            (tmp_path / f"{name}.csv").write_text(f"who,what,when\n{rows}\n")
        domains = ["--domain", f"B={tmp_path / 'b.csv'}", "--domain", f"A={tmp_path / 'a.csv'}"]
        code, out, _ = call(
            "prepare", *domains, "--columns", "user=who,item=what,timestamp=when", "--out", tmp_path / "data"
        )
        assert code == 0
        assert [line.partition(":")[0] for line in out.splitlines()] == ["B", "A", "dataset"]

    def test_overwrite_replaces_an_older_dataset(self, call, copy):
        assert call("prepare", copy / "log.csv", "--out", copy / "data", "--overwrite", "--max-history", 5)[0] == 0

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["{place}/log.csv", "--out", "{place}/data"], 1, "exists already; choose another --out, or replace it"),
            (["{place}/log.csv", "--out", "{place}/log.csv"], 1, "exists and is no directory"),
            (["{place}/log.csv", "--out", "{place}/log.csv/data"], 1, "log.csv/data: cannot be written: "),
            (["nothing.csv", "--out", "{new}"], 1, "nothing.csv: no such file"),
            (["nothing*.csv", "--out", "{new}"], 1, "nothing*.csv: matches no file"),
            (["{place}/data", "--out", "{new}"], 1, "is a directory; name its files"),
            (["--out", "{new}"], 1, "no input: name at least one log"),
            (["--domain", "books.csv", "--out", "{new}"], 2, "--domain takes NAME=FILE, got 'books.csv'"),
            (["{place}/log.csv", "--out", "{new}", "--columns", "user"], 2, "--columns takes name=value pairs, got"),
            (["{place}/log.csv", "--out", "{new}", "--columns", "user=who"], 1, "no column 'who' among 'user', "),
            (["{place}/log.csv", "--out", "{new}", "--preset", "amazon"], 1, "unknown preset 'amazon'; nearest: "),
            (["{place}/log.csv", "--out", "{new}", "--split", "temporal"], 1, "needs validation_from"),
            (["{place}/log.csv", "--out", "{new}", "--min-user-interactions", "99"], 1, "nothing is left by the"),
            (
                ["{place}/log.csv", "--out", "{new}", "--min-user-interactions", "0", "--max-history", "all"],
                2,
                "min_user_interactions must be greater than or equal to 1, got '0'; max_history must be",
            ),
            (["{place}/log.csv"], 2, "--out requires an argument"),
        ],
    )
    def test_refusals(self, refused, place, tmp_path, arguments, code, message):
        before = names_in(place)
        given = [a.format(place=place, new=tmp_path / "new") for a in arguments]
        assert refused("prepare", *given)[0] == code
        assert message in refused("prepare", *given)[1]
        assert (names_in(tmp_path), names_in(place)) == ([], before)


class TestTrain:
    def test_a_model_without_a_single_answer_has_no_weights_to_print(self, call, place, tmp_path):
        code, out, _ = call("train", place / "data", "--out", tmp_path / "run", "--model", "sasrec", *TINY_OPTIONS)
        assert (code, out) == (0, f"run: {tmp_path / 'run'}  (best epoch {out.split()[-1]}\n")

    def test_settings_come_from_the_file_and_then_from_the_options(self, call, place, tmp_path):
        (tmp_path / "settings.toml").write_text("[model]\ndim = 8\nmax_length = 9\n[training]\nepochs = 1\n")
        code, *_ = call(
            "train",
            place / "data",
            "--out",
            tmp_path / "run",
            "--config",
            tmp_path / "settings.toml",
            *TINY_OPTIONS[:2],
        )
        assert code == 0
        text = (tmp_path / "run" / "config.toml").read_text()
        assert all(line in text for line in ("dim = 16", "max_length = 9", "epochs = 1"))

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["nowhere", "--out", "{new}"], 1, "nowhere: no such dataset"),
            (["{place}/run", "--out", "{new}"], 1, "no manifest.json: not a dataset"),
            (["{place}/data", "--out", "{place}/run"], 1, "exists already; choose another --out, or continue it with"),
            (["{place}/data", "--out", "{place}/data"], 1, "exists already; choose another --out"),
            (["{place}/data", "--out", "{place}/data", "--resume"], 1, "holds no run.json, so it is no run"),
            (["{place}/data", "--out", "{place}/log.csv/run"], 1, "log.csv/run: "),
            (["{place}/data", "--out", "{new}", "--epoch", "3"], 2, "Unknown option: --epoch.  (see syncrec train --h"),
            (["{place}/data", "--out", "{new}", "--track", "x"], 2, 'Invalid value "x" for --track.'),
            (["{place}/data", "--out", "{new}", "--set", "epochs=3"], 1, "--set takes section.key=value, got"),
            (["{place}/data", "--out", "{new}", "--set", "training.epoch=3"], 1, "did you mean 'training.epochs'?"),
            (["{place}/data", "--out", "{new}", "--set", "training.epochs=0"], 1, "equal to 1, got 0"),
            (["{place}/data", "--out", "{new}", "--set", "training.device=tpu9"], 1, "must be auto, cpu, cuda"),
            (["{place}/data", "--out", "{new}", "--model", "sasrc"], 1, "unknown model 'sasrc'; did you mean 'sasrec'"),
            (["{place}/data", "--out", "{new}", "--config", "no.toml"], 1, "no.toml: no such configuration file"),
            (["{place}/data", "--out", "{new}", "--config", "{place}/log.csv"], 1, "log.csv: is not TOML: "),
            (["{place}/data", "--out", "{new}", "--config", "{place}/data"], 1, "data: Is a directory"),
        ],
    )
    def test_refusals_leave_nothing_behind(self, refused, place, tmp_path, arguments, code, message):
        given = [a.format(place=place, new=tmp_path / "new") for a in arguments]
        found, line = refused("train", *given)
        assert found == code
        assert message in line
        assert names_in(tmp_path) == []

    def test_a_missing_tracker_leaves_nothing_behind(self, refused, place, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "mlflow", None)
        code, line = refused("train", place / "data", "--out", tmp_path / "run", "--track", "mlflow")
        assert (code, names_in(tmp_path)) == (1, [])
        assert line == "--track mlflow needs the package mlflow-skinny; pip install 'syncrec[mlflow]'"

    @pytest.mark.parametrize("other", [["--set", "model.dim=32"], ["--model", "sasrec"]])
    def test_resume_with_other_settings_names_them(self, refused, place, other):
        code, line = refused("train", place / "data", "--out", place / "run", "--resume", *TINY_OPTIONS, *other)
        assert code == 1
        expected = {"--set": "model.dim = 32 (was 16)", "--model": "model.name = 'sasrec' (was 'syncrec')"}[other[0]]
        assert f"was begun with, but asked for is {expected}; leave out" in line

    @pytest.mark.parametrize("options", [[], TINY_OPTIONS])
    def test_resume_of_a_finished_run_leaves_it_as_it_is(self, call, copy, options):
        before = {path.name: path.read_bytes() for path in (copy / "run").iterdir() if path.is_file()}
        assert call("train", copy / "data", "--out", copy / "run", "--resume", *options)[0] == 0
        assert {path.name: path.read_bytes() for path in (copy / "run").iterdir() if path.is_file()} == before

    def test_resume_on_another_dataset_is_refused(self, refused, call, place, tmp_path):
        assert call("prepare", place / "log.csv", "--out", tmp_path / "data", "--max-history", 5)[0] == 0
        code, line = refused("train", tmp_path / "data", "--out", place / "run", "--resume")
        assert code == 1
        assert "is not the dataset that" in line


class TestEvaluate:
    @pytest.mark.parametrize("protocol", ["full", "sampled-999", "sampled-100"])
    def test_every_protocol_prints_tables_and_writes_the_result(self, call, place, tmp_path, protocol):
        code, out, _ = call(
            "evaluate", place / "run", "--protocol", protocol, "--split", "validation", "--json", tmp_path / "r.json"
        )
        assert code == 0
        title = f"{protocol}, validation split, 1 seed"
        text = " ".join(out.split())
        assert text.startswith(f"{title} domain queries answer HR@10")
        for answer in ("cross", "fused"):
            assert f"NDCG@10 of syncrec {answer} against syncrec single: {title} domain queries baseline" in text
        assert {"cross", "single", "fused"} == set(load_result(tmp_path / "r.json").answers)
        assert out.splitlines()[-1] == f"result: {tmp_path / 'r.json'}"

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["nowhere"], 1, "nowhere: no such run; `syncrec train DATASET --out nowhere` makes one"),
            (["{place}/data"], 1, "holds no run.json, so it is no run; `syncrec train` makes one"),
            (["{place}/run", "--protocol", "sampled-99"], 1, "unknown protocol 'sampled-99'; nearest: 'sampled-999'"),
            (["{place}/run", "--split", "tset"], 2, 'Did you mean "test"?  (see syncrec evaluate --help)'),
            (["{place}/run", "--json", "{place}/data"], 1, "data: is a directory; give the name of a file"),
            (["{place}/run", "more"], 2, "Unused Tokens: ['more']."),
            ([], 2, "RUN requires an argument"),
        ],
    )
    def test_refusals(self, refused, place, arguments, code, message):
        found, line = refused("evaluate", *(a.format(place=place) for a in arguments))
        assert found == code
        assert message in line

    def test_a_dataset_that_was_moved_is_found_with_the_option(self, refused, call, copy):
        (copy / "data").rename(copy / "moved")
        code, line = refused("evaluate", copy / "run")
        assert code == 1
        assert line.endswith("is gone; if it was moved, give --dataset")
        assert call("recommend", copy / "run", "--dataset", copy / "moved", "--user", "u1", "--domain", "books")[0] == 0

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda p: (p / "data/items.npy").unlink(), "items.npy: missing; the dataset is damaged, make it again"),
            (lambda p: (p / "data/items.npy").write_bytes(b"x"), "1 bytes where the manifest says"),
            (lambda p: flip_last_byte(p / "data/items.npy"), "items.npy: altered since it was written"),
            (lambda p: (p / "data/manifest.json").unlink(), "no manifest.json: not a dataset, or one that was never"),
            (lambda p: (p / "run/best.safetensors").unlink(), "no such checkpoint; train the run first"),
            (lambda p: (p / "run/best.safetensors").write_bytes(b"x" * 99), "best.safetensors: damaged checkpoint"),
            (lambda p: (p / "run/config.toml").unlink(), "config.toml: no such configuration file"),
            (lambda p: (p / "run/run.json").write_text("{"), "what a run was trained on is damaged: "),
            (lambda p: (p / "run/run.json").write_text("[]"), "damaged: expected a JSON object, got a list"),
        ],
    )
    def test_damage_is_named(self, refused, copy, damage, message):
        damage(copy)
        code, line = refused("evaluate", copy / "run")
        assert code == 1
        assert message in line


def flip_last_byte(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


class TestRecommend:
    def test_lines_and_json_say_the_same(self, call, place):
        lines = call("recommend", place / "run", "--user", "u3", "--domain", "films", "-k", 4)[1].splitlines()
        entries = json.loads(
            call("recommend", place / "run", "--user", "u3", "--domain", "films", "-k", 4, "--json")[1]
        )
        assert [entry["rank"] for entry in entries] == [1, 2, 3, 4]
        assert lines == [f"{e['rank']:4d}  {e['item']:24}  {e['score']:.4f}" for e in entries]

    def test_k_above_the_catalogue_gives_the_catalogue(self, call, place):
        code, out, _ = call("recommend", place / "run", "--user", "u3", "--domain", "films", "--top", 10**6)
        assert (code, len(out.splitlines())) == (0, NUM_ITEMS)

    @pytest.mark.parametrize("history", ["", "  ", "books:b1", "books:b1, tools:t2"])
    def test_a_history_of_any_length_gets_an_answer(self, call, place, history):
        code, out, _ = call("recommend", place / "run", "--history", history, "--domain", "films", "-k", 2)
        assert (code, len(out.splitlines())) == (0, 2)

    def test_seen_items_are_left_out(self, call, place):
        question = ["recommend", place / "run", "--history", "films:f1,films:f2", "--domain", "films", "-k", 99]
        all_items, unseen = (
            {line.split()[1] for line in call(*question, *options)[1].splitlines()}
            for options in ([], ["--exclude-seen"])
        )
        assert all_items - unseen == {"f1", "f2"}

    def test_nothing_left_is_said(self, call, place):
        history = ",".join(f"films:f{i}" for i in range(NUM_ITEMS))
        question = ["recommend", place / "run", "--history", history, "--domain", "films", "--exclude-seen"]
        assert call(*question)[1] == "no item of films is left to recommend\n"
        assert call(*question, "--json")[1] == "[]\n"

    def test_all_users_in_one_file(self, call, place, tmp_path):
        out = tmp_path / "deep" / "recs.parquet"
        code, text, _ = call("recommend", place / "run", "--all", "--domain", "tools", "-k", 3, "--out", out)
        assert (code, text) == (0, f"recommendations: {out}  (150 rows)\n")
        frame = pl.read_parquet(out)
        assert frame.columns == ["user", "rank", "item", "score"]
        one = json.loads(call("recommend", place / "run", "--user", "u7", "--domain", "tools", "-k", 3, "--json")[1])
        assert frame.filter(pl.col("user") == "u7")["item"].to_list() == [entry["item"] for entry in one]

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["--user", "u3", "--domain", "films", "-k", "0"], 1, "k must be at least 1, got 0"),
            (["--user", "u3", "--domain", "films", "-k", "-1"], 1, "k must be at least 1, got -1"),
            (["--user", "u3", "--domain", "films", "-k", "ten"], 2, 'unable to convert "ten" into int'),
            (["--user", "u333", "--domain", "films"], 1, "unknown user 'u333'; nearest: 'u3"),
            (
                ["--user", "u3", "--domain", "flims"],
                1,
                "unknown domain 'flims'; nearest: 'films'; the domains are book",
            ),
            (["--user", "u3"], 2, "--domain requires an argument.  (see syncrec recommend --help)"),
            (["--domain", "films"], 2, "takes exactly one of --user, --history and --all, got 0"),
            (["--domain", "films", "--user", "u3", "--history", ""], 2, "exactly one of --user, --history and --all"),
            (["--domain", "films", "--history", "films"], 2, "--history takes domain:item,domain:item in order of tim"),
            (["--domain", "films", "--history", "films:"], 2, "got 'films:'"),
            (["--domain", "films", "--history", ":f1"], 2, "got ':f1'"),
            (["--domain", "films", "--history", "films:f1,,films:f2"], 2, "got ''"),
            (["--domain", "films", "--history", "films:f999"], 1, "unknown item of films 'f999'"),
            (["--domain", "films", "--history", "flims:f1"], 1, "unknown domain 'flims'; nearest: 'films'"),
            (["--domain", "films", "--all"], 2, "--all and --out go together"),
            (["--domain", "films", "--user", "u3", "--out", "{new}"], 2, "--all and --out go together"),
            (["--domain", "flims", "--all", "--out", "{new}"], 1, "unknown domain 'flims'"),
            (["--domain", "films", "--all", "--out", "{new}", "-k", "0"], 1, "k must be at least 1, got 0"),
            (["--domain", "films", "--all", "--out", "{place}/data"], 1, "data: is a directory; give the name of a f"),
            (["--domain", "films", "--all", "--out", "{place}/log.csv/x"], 1, "log.csv/x: cannot be written: "),
            (["--domain", "films", "--user", "u3", "--answer", "best"], 2, 'Choose from: "fused", "cross", "single".'),
        ],
    )
    def test_refusals_leave_nothing_behind(self, refused, place, tmp_path, arguments, code, message):
        found, line = refused(
            "recommend", place / "run", *(a.format(place=place, new=tmp_path / "new") for a in arguments)
        )
        assert found == code
        assert message in line
        assert names_in(tmp_path) == []


class TestSurface:
    @pytest.mark.parametrize("command", OPTIONS)
    def test_options_are_the_promised_ones(self, call, command, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        code, out, _ = call(command, "--help")
        names = " ".join(line.split("  ")[0] for line in parameters(out))
        shown = re.findall(r"(?<![\w-])--?[a-z][\w-]*", names)
        assert (code, sorted(shown)) == (0, sorted(OPTIONS[command].split()))

    def test_commands_are_the_promised_ones(self, call, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        out = call("--help")[1]
        assert {line.split()[0] for line in parameters(out)} - {"--help", "--version"} == set(OPTIONS)

    def test_models_and_keys_are_one_line_each_in_a_pipe(self, call):
        assert [line.split()[0] for line in call("models")[1].splitlines()] == ["syncrec", "sasrec"]
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

    def test_ctrl_c_in_a_command_without_a_state_to_save(self, refused, place, monkeypatch):
        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr("syncrec.pipeline.open_run", interrupted)
        assert refused("evaluate", place / "run") == (130, "stopped")


def parameters(text):
    """The lines of a help text that name a command or an option, without their frame."""
    lines = [line.strip("│ ").removeprefix("*").strip() for line in text.splitlines() if line.startswith("│")]
    return [line for line in lines if re.match(r"-|[a-z]+  ", line)]


LONGER = as_options([*TINY, "training.epochs=4", "training.batch_size=4", "training.checkpoint_every_steps=1"])
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def shell(*arguments, **options):
    command = [sys.executable, "-m", "syncrec", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **options
    )


@pytest.fixture(scope="module")
def undisturbed(place):
    """The last checkpoint of a training that nothing stopped."""
    assert main(["train", str(place / "data"), "--out", str(place / "undisturbed"), *LONGER]) == 0
    return load_checkpoint(place / "undisturbed" / LAST_NAME)


class TestProcess:
    def test_help_imports_no_torch(self):
        code = (
            "import sys; from syncrec.cli import main; main(['--help']); main(['train', '--help'])\n"
            "sys.exit(bool({'torch', 'polars', 'scipy'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    def test_the_module_gives_exit_code_and_one_line(self):
        process = shell("prepare", "nowhere.csv", "--out", "data")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (1, "", "syncrec: nowhere.csv: no such file\n")

    def test_a_closed_pipe_is_no_fault(self):
        process = shell("keys")
        process.stdout.close()
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(60) == 1

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
        process = shell(*arguments)
        log = tmp_path / "run" / "log.jsonl"
        while not (log.exists() and log.read_text()) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(kind)
        err = process.communicate(timeout=60)[1]
        if process.returncode == 0:
            pytest.skip("the machine was so slow to notice that training had ended")
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
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, "", "syncrec: stopped\n")
        assert not (tmp_path / "out").exists() or names_in(tmp_path / "out") == []


def read_terminal(leader):
    """What was written, nothing at the end."""
    try:
        return os.read(leader, 4096)
    except OSError:
        return b""
