import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from syncrec.errors import ArtifactError, ConfigError
from syncrec.experimentation.lifecycle import load_experiment, ramp_experiment, start_experiment, stop_experiment

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
USERS = [f"user-{number}" for number in range(2000)]
TEXT = """
name = "books"
salt = "s"
ramp = 0.2
end = 2026-12-24
[arms.control]
share = 0.5
[arms.syncrec]
share = 0.5
run = "runs/syncrec"
answer = "fused"
"""


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "books.toml"
    place.write_text(TEXT, encoding="utf-8")
    (tmp_path / "runs/syncrec").mkdir(parents=True)
    (tmp_path / "runs/syncrec/run.json").write_text("{}")
    return place


def arms(path, now=NOW):
    experiment = load_experiment(path)
    return {user: arm for user in USERS if (arm := experiment.arm_of(user, now.timestamp()))}


def test_a_draft_has_no_users(path):
    assert load_experiment(path).state.phase == "draft"
    assert arms(path) == {}


def test_a_run_that_is_none_is_told_before_the_start_freezes_it(path):
    path.write_text(TEXT.replace("runs/syncrec", "runs/syncrek"))
    with pytest.raises(ConfigError, match=r"books.toml: arms.syncrec.run = .*syncrek: is no trained run; correct it"):
        start_experiment(path, NOW)
    assert load_experiment(path).state.phase == "draft"
    path.write_text(TEXT)
    assert start_experiment(path, NOW).phase == "running"


def test_ramping_up_never_moves_a_user_who_is_in(path):
    start_experiment(path, NOW)
    seen = [arms(path)]
    for ramp in (0.5, 0.75, 1):
        ramp_experiment(path, ramp, NOW)
        seen.append(arms(path))
        assert seen[-2].items() < seen[-1].items()
    assert set(seen[-1]) == set(USERS)
    assert len(seen[0]) / len(USERS) == pytest.approx(0.2, abs=0.04)


def test_history_keeps_every_change(path):
    start_experiment(path, NOW, "looks good")
    ramp_experiment(path, 0.5, NOW + timedelta(days=1))
    stop_experiment(path, NOW + timedelta(days=9), "won")
    state = load_experiment(path).state
    assert [(c.state, c.ramp, c.reason) for c in state.history] == [
        ("running", 0.2, "looks good"),
        ("running", 0.5, ""),
        ("stopped", 0.0, "won"),
    ]
    assert (state.started, state.stopped) == (NOW, NOW + timedelta(days=9))
    assert arms(path) == {}


def test_nobody_is_in_outside_the_planned_time(path):
    start_experiment(path, NOW)
    assert arms(path, datetime(2026, 12, 23, 23, tzinfo=UTC)) != {}
    assert arms(path, datetime(2026, 12, 24, tzinfo=UTC)) == {}


def test_runs_are_found_beside_the_file(path, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    experiment = load_experiment(path)
    assert experiment.run_of("syncrec") == path.parent / "runs" / "syncrec"
    assert experiment.run_of("control") is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([lambda p: stop_experiment(p, NOW)], "the experiment is draft and cannot be stopped"),
        ([lambda p: ramp_experiment(p, 0.5, NOW)], "the experiment is draft and cannot be ramped"),
        ([lambda p: start_experiment(p, NOW)] * 2, "running since 2026-11-24 12:00 UTC and cannot be started"),
        (
            [lambda p: start_experiment(p, NOW), lambda p: stop_experiment(p, NOW), lambda p: start_experiment(p, NOW)],
            "give a new one a name and a salt of its own",
        ),
        ([lambda p: start_experiment(p, NOW), lambda p: ramp_experiment(p, 0.1, NOW)], r"above the ramp now \(0.2\)"),
        ([lambda p: start_experiment(p, NOW), lambda p: ramp_experiment(p, 1.1, NOW)], "at most 1, got 1.1"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_and_nothing_is_changed(path, changes, said):
    *before, last = changes
    for change in before:
        change(path)
    state = load_experiment(path).state
    with pytest.raises(ConfigError, match=said):
        last(path)
    assert load_experiment(path).state == state


@pytest.mark.parametrize(
    ("old", "new"), [('salt = "s"', 'salt = "t"'), ("share = 0.5\n[arms.s", "share = 0.4\n[arms.s"), ("fused", "cross")]
)
def test_what_the_start_froze_may_not_change(path, old, new):
    start_experiment(path, NOW)
    text = TEXT.replace(old, new)
    text = text.replace("share = 0.5\nrun", "share = 0.6\nrun") if "0.4" in new else text
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="changed since the experiment was started; restore it"):
        load_experiment(path)


def test_the_planned_end_may_change(path):
    start_experiment(path, NOW)
    path.write_text(TEXT.replace("2026-12-24", "2027-01-24"), encoding="utf-8")
    assert arms(path, datetime(2027, 1, 1, tzinfo=UTC)) != {}


def test_a_faulty_file_leaves_nothing_behind(path):
    path.write_text(TEXT + "share = 1", encoding="utf-8")
    with pytest.raises(ConfigError):
        start_experiment(path, NOW)
    assert sorted(place.name for place in path.parent.iterdir()) == ["books.toml", "runs"]


@pytest.mark.parametrize("content", ["{", '{"kind": "run"}', '{"history": [{"at": "yesterday"}]}'])
def test_a_damaged_state_is_refused_in_one_line(path, content):
    start_experiment(path, NOW)
    (path.parent / "books.state" / "state.json").write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match="damaged") as error:
        load_experiment(path)
    assert "\n" not in str(error.value)


def test_of_changes_at_once_none_is_lost(path):
    start_experiment(path, NOW)

    def attempt(ramp):
        try:
            ramp_experiment(path, ramp, NOW)
        except (ArtifactError, ConfigError):
            return None
        return ramp

    with ThreadPoolExecutor(8) as pool:
        done = [ramp for ramp in pool.map(attempt, [0.3 + number / 100 for number in range(40)]) if ramp]
    content = json.loads((path.parent / "books.state" / "state.json").read_text())
    assert sorted(done) == [change["ramp"] for change in content["history"][1:]]
