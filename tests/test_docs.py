"""The documents say what the code does: their commands run, and what they name exists."""

import ast
import re
import runpy
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import syncrec
from syncrec.cli import app, main
from syncrec.config import Config, PrepareConfig, config_keys

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "syncrec"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TINY = ["training.epochs=1", "training.threads=1", "model.dim=8"]


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name, language):
    """The fenced blocks of `language` in a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(name), flags=re.MULTILINE | re.DOTALL)


def section(name, title):
    """The text below the heading `title`, up to the next heading of its level."""
    return re.split(r"^## ", text_of(name).split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def commands(name, language):
    """Every command of this package in the blocks of a document, as arguments."""
    lines = [line for block in blocks(name, language) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("syncrec ")]


README_COMMANDS = commands("README.md", "bash")
OTHER_COMMANDS = commands("docs/data-format.md", "")


@pytest.fixture
def log_here(tmp_path, monkeypatch):
    """An empty working directory with a tiny `log.csv`, as the README supposes."""
    users = ["alice", *(f"user-{number}" for number in range(19))]
    events = [
        (user, number + step, ("books", "films")[(number + step) % 2])
        for number, user in enumerate(users)
        for step in range(7)
    ]
    rows = [f"{user},{domain}-{place % 24},{domain},{place}" for user, place, domain in events]
    (tmp_path / "log.csv").write_text("\n".join(["user,item,domain,timestamp", *rows]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)


# The command line


def test_every_command_is_in_the_readme():
    known = {name for name in app if not name.startswith("-")}
    assert {arguments[0] for arguments in README_COMMANDS} == known


@pytest.mark.parametrize("arguments", README_COMMANDS + OTHER_COMMANDS, ids=" ".join)
def test_commands_parse(arguments):
    app.parse_args(arguments, exit_on_error=False, print_error=False)


def test_the_readmes_commands_on_ones_own_log_run_one_after_another(log_here, capsys):
    (block,) = (block for block in blocks("README.md", "bash") if block.startswith("syncrec demo --data log.csv"))
    arguments_of = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    assert [arguments[0] for arguments in arguments_of][:3] == ["demo", "prepare", "inspect"]
    for arguments in arguments_of:
        settings = [part for setting in TINY for part in ("--set", setting)] if arguments[0] == "train" else []
        assert main([*arguments, *settings]) == 0, capsys.readouterr().err


def test_the_readmes_python_example_runs(log_here, monkeypatch, capsys):
    (example,) = blocks("README.md", "python")
    real_train = syncrec.train
    monkeypatch.setattr(
        syncrec, "train", lambda *given, settings, **named: real_train(*given, settings=[*settings, *TINY], **named)
    )
    exec(compile(example, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["books", "films", *map(str, range(1, 11))]


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_make_targets_exist(document):
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text_of(document), flags=re.MULTILINE))
    assert named
    assert named <= targets


def test_the_command_that_installs_for_cpus_only_is_one_the_makefile_knows():
    assert "TORCH_INDEX ?=" in text_of("Makefile")
    assert "make demo TORCH_INDEX=" in text_of("README.md")


# Places


def places(text):
    """Paths in backticks in the first column of a table."""
    cells = re.findall(r"^\|([^|]*)\|", text, flags=re.MULTILINE)
    return [place for cell in cells for place in re.findall(r"`([\w./-]+)`", cell)]


def test_every_place_of_the_readmes_map_exists():
    named = places(section("README.md", "Where things are"))
    assert [place for place in named if not (ROOT / place).exists()] == []


def test_every_place_of_the_package_is_in_the_readmes_map():
    named = {place.rstrip("/") for place in places(section("README.md", "Where things are"))}
    present = {str(path.relative_to(ROOT)) for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert sorted(present - named) == []


def test_links_and_paths_lead_to_files():
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
        missing = [link for link in links if not (document.parent / link).exists()]
        paths = re.findall(r"`((?:src|tests|docs)/[\w./-]+)`", text)
        missing += [path for path in paths if not (ROOT / path).exists()]
        assert missing == [], document.name


def ranks():
    """Rank of each place of ARCHITECTURE.md's table, by the name it is imported under."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", section("ARCHITECTURE.md", "One direction"), flags=re.MULTILINE)
    return {
        place.removesuffix(".py").rstrip("/"): int(rank) for rank, cell in rows for place in re.findall("`(.+?)`", cell)
    }


def imports(path):
    """Top-level places of the package that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "syncrec":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("syncrec."):
            yield node.module.split(".")[1]


def test_no_place_imports_one_of_a_higher_rank():
    known = ranks()
    upward = []
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if place == "__init__":
            continue
        upward += [f"{place} -> {other}" for other in imports(path) if known[other] > known[place]]
    assert upward == []


@pytest.mark.parametrize(
    ("place", "strangers"),
    [
        ("training", {"evaluation"}),
        ("evaluation", {"training", "models", "nn", "losses"}),
        ("reports", {"models", "nn", "training", "losses", "analysis"}),
        ("serving", {"training", "losses", "evaluation"}),
    ],
)
def test_places_that_do_not_know_each_other(place, strangers):
    found = {other for path in (PACKAGE / place).rglob("*.py") for other in imports(path)}
    assert found & strangers == set()


def test_importing_the_package_and_its_command_line_loads_no_torch():
    code = "import sys, syncrec, syncrec.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Names


def test_every_equation_is_in_the_model_and_mapped_to_code():
    rows = re.findall(r"^\| \((M\d+)\) \|", text_of("docs/paper-to-code.md"), flags=re.MULTILINE)
    assert rows == [f"M{number}" for number in range(1, 14)]
    headings = re.findall(r"\*\*\((M\d+)\)", text_of("docs/model.md"))
    assert headings == rows


def test_every_trap_is_answered():
    traps = re.findall(r"^(\d+)\. ", text_of("docs/model.md").split("## 5. Traps")[1], flags=re.MULTILINE)
    answered = re.findall(
        r"^\| (\d+) \|", section("docs/paper-to-code.md", "Traps, and how they are avoided"), re.MULTILINE
    )
    assert answered == traps


def exists_in_code(name):
    """Whether the dotted `name` is a module or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False


def test_every_function_named_exists():
    names = {
        name for document in DOCUMENTS for name in re.findall(r"`(syncrec(?:\.\w+)+)`", document.read_text("utf-8"))
    }
    assert len(names) > 20
    assert sorted(name for name in names if not exists_in_code(name)) == []


def test_every_test_named_exists():
    missing = []
    for document in DOCUMENTS:
        for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", document.read_text(encoding="utf-8")):
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            if name not in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}:
                missing.append(f"{path}::{name}")
    assert missing == []


# Settings


def test_the_list_of_settings_is_current():
    script = runpy.run_path(str(ROOT / "docs" / "write_configuration.py"))
    assert script["PLACE"].read_text(encoding="utf-8") == script["render"](), "run python docs/write_configuration.py"


@pytest.mark.parametrize("schema", [Config, PrepareConfig])
def test_every_setting_is_listed_with_a_meaning(schema):
    text = text_of("docs/configuration.md")
    for key, _, meaning in config_keys(schema):
        assert meaning
        assert f"| `{key}` |" in text


def test_settings_named_in_the_documents_exist():
    known = {key for key, _, _ in config_keys()}
    sections = "|".join(Config.model_fields)
    for document in DOCUMENTS:
        named = set(re.findall(rf"(?<![\w/.])((?:{sections})\.\w+)(?!\w|/)", document.read_text(encoding="utf-8")))
        files = {name for name in named if name.endswith((".py", ".md", ".toml"))}
        assert named - files <= known, document.name
