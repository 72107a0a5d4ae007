"""A small experiment, carried out once."""

from pathlib import Path

import pytest

from jobs import TINY, write_small_log
from syncrec.experiments.plan import load_plan
from syncrec.experiments.runner import Experiment

SETTINGS = "\n".join(f'"{key}" = {value}' for key, value in (setting.split("=") for setting in TINY))
PLAN = f"""
seeds = [0, 1]
protocols = ["full"]
twin = "alone"

[datasets.small]
log = "log.csv"

[settings]
{SETTINGS}

[tuning]
trials = 2
epochs = 1
[tuning.space]
"training.learning_rate" = [1e-3, 1e-2]

[models.syncrec]
[models.alone]
name = "sasrec"
tune = false
[models.uncorrected]
name = "syncrec"
like = "syncrec"
settings = {{"transfer.correction" = false}}
[models.popularity]
[models.item-knn]
[models.bpr-mf]
"""


@pytest.fixture(scope="session")
def plan_path(tmp_path_factory):
    """A plan and its log."""
    folder = tmp_path_factory.mktemp("plan")
    write_small_log(folder / "log.csv")
    (folder / "plan.toml").write_text(PLAN)
    return folder / "plan.toml"


@pytest.fixture(scope="session")
def experiment(plan_path, tmp_path_factory):
    """The plan carried out, two runs at a time; `lines` is what it said."""
    lines = []
    found = Experiment(load_plan(plan_path), tmp_path_factory.mktemp("experiment") / "out", 2, lines.append)
    assert found.run() == []
    found.lines = lines
    return found


def pytest_collection_modifyitems(items):
    """Whoever comes first waits for the experiment: some twenty processes, one after another on a busy machine."""
    for item in items:
        is_ours = item.path.is_relative_to(Path(__file__).parent) and "experiment" in item.fixturenames
        if is_ours and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))
