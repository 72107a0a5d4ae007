from datetime import UTC, datetime

import pytest

from syncrec.errors import ConfigError
from syncrec.experimentation.definition import load_definition

ARMS = "[arms.control]\nshare = 0.5\n[arms.syncrec]\nshare = 0.5\n"


def written(tmp_path, head="", tail="", arms=ARMS):
    path = tmp_path / "experiment.toml"
    path.write_text(f'name = "books"\nsalt = "salt"\n{head}\n{arms}\n{tail}\n', encoding="utf-8")
    return path


def test_a_short_file_takes_the_defaults(tmp_path):
    definition = load_definition(written(tmp_path, "start = 2026-11-24"))
    assert definition.control_arm == "control"
    assert definition.shares == (0.5, 0.5)
    assert (definition.confidence, definition.ramp, definition.end) == (0.95, 1, None)
    assert definition.start == datetime(2026, 11, 24, tzinfo=UTC)
    with pytest.raises(Exception, match="frozen"):
        definition.ramp = 0.5


@pytest.mark.parametrize(
    ("head", "tail", "said"),
    [
        ("ramp = 1.5", "", "ramp must be less than or equal to 1, got 1.5"),
        ("rampp = 0.5", "", "unknown key 'rampp'; did you mean 'ramp'"),
        ('control = "kontrol"', "", r"control must be one of the arms \(control, syncrec\), got 'kontrol'"),
        ("start = 2026-11-24\nend = 2026-11-23", "", "end must be after start"),
        ("", "[arms.third]\nshare = 0.25", "shares of the arms must sum to 1, got 1.25"),
        ("", '[guardrails.g]\nmetric = "ctr"', "guardrails.g: give exactly one of max_worsening and limit"),
        ("", '[guardrails.g]\nmetric = "clicks"\nlimit = 1', "guardrails.g.metric must be 'ctr', 'empty_answers'"),
        ('primary = "revenue"', "", "primary must be 'ctr'"),
        ("no toml", "", "is not TOML"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, head, tail, said):
    with pytest.raises(ConfigError, match=said) as error:
        load_definition(written(tmp_path, head, tail))
    assert "\n" not in str(error.value)


def test_all_faults_are_told_at_once(tmp_path):
    with pytest.raises(ConfigError) as error:
        load_definition(written(tmp_path, "ramp = 0\nconfidence = 2", arms="[arms.one]\nshare = -1"))
    assert all(word in str(error.value) for word in ("ramp", "confidence", "arms.one.share", "experiment.toml"))


def test_one_arm_is_no_experiment(tmp_path):
    with pytest.raises(ConfigError, match="arms must be at least two, got 1"):
        load_definition(written(tmp_path, arms="[arms.one]\nshare = 1"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.toml: no such configuration file"):
        load_definition(tmp_path / "gone.toml")
