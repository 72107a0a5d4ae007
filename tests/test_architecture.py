"""The one-way flow of the package, its sizes and its docstrings, read from the source."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import syncrec

PACKAGE = Path(syncrec.__file__).parent
RANKS = [
    {"errors", "answers", "schema", "rng", "stats", "artifacts", "cluster"},
    {"config", "parallel"},
    {"data"},
    {"nn"},
    {"models"},
    {"losses", "checkpoint", "shards", "runs"},
    {"training", "evaluation"},
    {"reports", "experimentation", "serving", "ranker", "validation", "analysis"},
    {
        "pipeline",
        "batch_scoring",
        "fitting",
        "baselines",
        "demo",
        "doctor",
        "retraining",
        "transfer_report",
        "inspection",
        "cards",
        "client",
        "planning",
    },
    {"experiments"},
    {"cli", "__main__"},
]
RANK_OF = {place: rank for rank, places in enumerate(RANKS) for place in places}
STRANGERS = [
    ("training", {"evaluation"}),
    ("evaluation", {"training", "losses", "models", "nn"}),
    ("reports", {"models", "nn", "training", "losses", "analysis"}),
    ("serving", {"training", "losses", "evaluation"}),
    ("experimentation", {"models", "nn", "training", "losses", "evaluation", "serving"}),
    ("nn", {"data", "config"}),
    ("parallel", {"config"}),
]
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def module_of(path: Path) -> str:
    parts = ["syncrec", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): TREES[path] for path in FILES}


def place_of(module: str) -> str:
    """`data` for syncrec.data.packing; empty for the package itself, which hands out names of every rank."""
    return module.partition(".")[2].partition(".")[0]


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Modules of this package that a source imports anywhere, functions and type hints included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "syncrec")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the rank of a module"
            if (node.module or "").split(".")[0] == "syncrec":
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield full if full in MODULES else str(node.module)


EDGES = sorted((module, used) for module, tree in MODULES.items() if module != "syncrec" for used in imports_of(tree))


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_module_has_a_rank():
    assert len(MODULES) > 50
    assert ("syncrec.fitting", "syncrec.training.loop") in EDGES
    assert {place_of(module) for module in MODULES} - {""} <= set(RANK_OF)


def test_a_lower_rank_never_imports_a_higher_one():
    upward = [
        f"{module} (rank {RANK_OF[place_of(module)]}) imports {used} (rank {RANK_OF[place_of(used)]})"
        for module, used in EDGES
        if place_of(used) and RANK_OF[place_of(module)] < RANK_OF[place_of(used)]
    ]
    assert upward == []


@pytest.mark.parametrize(("place", "strangers"), STRANGERS, ids=[place for place, _ in STRANGERS])
def test_places_that_do_not_know_each_other(place, strangers):
    known = [f"{module} imports {used}" for module, used in EDGES if place_of(module) == place]
    assert [line for line in known if place_of(line.rpartition(" ")[2]) in strangers] == []


def test_only_the_command_line_goes_through_the_package_itself():
    assert {place_of(module) for module, used in EDGES if used == "syncrec"} <= {"cli", "__main__"}


def test_modules_do_not_import_in_circles():
    graph: dict[str, set[str]] = {}
    for module, used in EDGES:
        graph.setdefault(module, set()).add(used)
    list(graphlib.TopologicalSorter(graph).static_order())


def test_the_network_knows_torch_and_nothing_else():
    known = {
        name.split(".")[0]
        for module, tree in MODULES.items()
        if place_of(module) == "nn"
        for node in ast.walk(tree)
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")])
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert known <= {"torch", "syncrec", "collections", "typing", "math"}


@pytest.mark.parametrize("module", ["syncrec", "syncrec.cli", "syncrec.config", "syncrec.errors"])
def test_importing_it_alone_loads_no_heavy_library(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'polars', 'scipy', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_evaluation_needs_no_torch():
    code = "import sys, syncrec.evaluation; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_name_the_package_promises_is_there():
    assert syncrec.__all__ == sorted(syncrec.__all__)
    for name in syncrec.__all__:
        assert getattr(syncrec, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = syncrec.nothing


LAZY = {"syncrec", "syncrec.cli"}
INITS = [path for path in FILES if path.name == "__init__.py" and module_of(path) not in LAZY]


@pytest.mark.parametrize("path", INITS, ids=[module_of(path) for path in INITS])
def test_init_files_only_hand_out_names(path):
    docstring, *rest = TREES[path].body
    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.ImportFrom | ast.Assign) for node in rest)
    assigned = [target.id for node in rest if isinstance(node, ast.Assign) for target in node.targets]
    assert assigned in ([], ["__all__"])


def assigned_names(tree: ast.Module) -> dict[str, ast.expr | None]:
    """What a module assigns at its top."""
    plain = [(t, n.value) for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    typed = [(n.target, n.value) for n in tree.body if isinstance(n, ast.AnnAssign)]
    return {target.id: value for target, value in [*plain, *typed] if isinstance(target, ast.Name)}


SPEAKING = [module for module, tree in MODULES.items() if len(tree.body) > 1 and not module.endswith("__main__")]


@pytest.mark.parametrize("module", SPEAKING)
def test_a_module_says_what_it_offers_and_has_it(module):
    tree = MODULES[module]
    names = assigned_names(tree)
    assert "__all__" in names
    here = {n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)} | set(names)
    here |= {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    assert sorted(set(ast.literal_eval(names["__all__"])) - here) == []


def test_files_stay_below_400_lines():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def test_functions_stay_below_60_lines():
    lengths = {
        f"{path.name}:{function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path, tree in TREES.items()
        for function in functions_of(tree)
    }
    assert {name: n for name, n in lengths.items() if n > 60} == {}


def public_definitions(tree: ast.Module) -> Iterator[ast.AST]:
    """The module, its public classes and functions, and the public methods of those classes."""
    yield tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (method for method in functions_of(node) if not method.name.startswith("_"))


def test_nearly_everything_public_has_a_docstring():
    found = [(module, node) for module, tree in MODULES.items() for node in public_definitions(tree)]
    bare = [f"{module}:{getattr(node, 'name', '')}" for module, node in found if not ast.get_docstring(node)]
    assert len(bare) / len(found) <= 0.05, bare


def test_chance_has_named_generators_only():
    """No global numpy generator, no `random` module, no torch seed but the trainer's own."""
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert "random" not in [alias.name for alias in node.names], module
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Attribute)
                and node.value.attr == "random"
            ):
                allowed = {"Generator", "PCG64", "fork_rng"}
                assert node.attr in allowed, f"{module}:{node.lineno}: random.{node.attr}"
