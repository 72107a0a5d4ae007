import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncrec.config import Config, PrepareConfig, config_keys, dump_toml, load_config, parse_settings
from syncrec.errors import ConfigError


@pytest.mark.parametrize("schema", [Config, PrepareConfig])
def test_every_key_says_what_it_means(schema):
    keys = list(config_keys(schema))
    assert len(keys) == len({key for key, _, _ in keys})
    assert [key for key, _, meaning in keys if len(meaning) < 10] == []


def test_config_keys_are_section_and_key_with_the_default():
    assert ("training.batch_size", 128, "users a step") in list(config_keys())


def test_defaults_are_valid_and_need_no_file():
    assert load_config() == Config()


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("training.epoch=3", "unknown key 'training.epoch'; did you mean 'training.epochs'?"),
        ("trainig.epochs=3", "unknown key 'trainig'; did you mean 'training'?"),
        ("transfer.temprature=3", "unknown key 'transfer.temprature'; did you mean 'transfer.temperature'?"),
        ("model.temprature=3", "unknown key 'model.temprature'; did you mean 'model.temperature'?"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(override, hint):
    with pytest.raises(ConfigError) as error:
        load_config(overrides=[override])
    assert hint in str(error.value)


def test_an_unknown_key_that_is_like_none_gets_the_keys_of_its_section():
    with pytest.raises(
        ConfigError, match=r"unknown key 'transfer\.xyzzy'; known here: correction, weights, alpha, beta, temp"
    ):
        load_config(overrides=["transfer.xyzzy=1"])


def test_all_faults_come_at_once_with_value_and_file(tmp_path):
    path = tmp_path / "smoke.toml"
    path.write_text("[training]\nbatch_size = 0\nwrong_key = 1\n[loss]\nkind = 'hinge'\n[model]\ndim = 9\n")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    text = str(error.value)
    assert "training.batch_size must be greater than or equal to 1, got 0" in text
    assert "unknown key 'training.wrong_key'" in text
    assert "loss.kind must be 'full', 'sampled', 'bce' or 'gbce', got 'hinge'" in text
    assert "dim must be a multiple of num_heads, got 9 and 2" in text
    assert "smoke.toml" in text


@pytest.mark.parametrize(
    "override",
    [
        "training.learning_rate=0",
        "training.learning_rate=nan",
        "training.learning_rate=inf",
        "training.gradient_clip=-1",
        "training.seed=-1",
        "model.dropout=1",
        "model.num_cross_experts=4",
        "model.num_experts=1",
        "transfer.beta=0",
        "transfer.alpha=1",
        "loss.single_weight=-0.1",
        "training.epochs=two",
    ],
)
def test_values_out_of_range_are_refused_with_the_name_of_the_key(override):
    with pytest.raises(ConfigError, match=override.partition("=")[0].rpartition(".")[2]):
        load_config(overrides=[override])


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Config().training.epochs = 3


SETTINGS = {
    "model": {
        "name": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        "dropout": st.floats(0, 0.99),
        "dim": st.sampled_from([4, 64]),
    },
    "loss": {"kind": st.sampled_from(["full", "gbce"]), "single_weight": st.floats(0, 1e300)},
    "transfer": {"correction": st.booleans(), "beta": st.floats(1e-300, 1.0)},
    "training": {"epochs": st.integers(1, 10**9), "device": st.sampled_from(["auto", "cuda:1", 'a"b\\c'])},
}


@given(st.fixed_dictionaries({name: st.fixed_dictionaries(keys) for name, keys in SETTINGS.items()}))
def test_dumped_toml_reads_back_equal(values):
    config = parse_settings(Config, values, "test")
    assert parse_settings(Config, tomllib.loads(dump_toml(config)), "test") == config


def test_dumped_file_is_a_configuration_file(tmp_path):
    config = load_config(overrides=["training.epochs=3", "transfer.correction=false", "training.learning_rate=1e-5"])
    (tmp_path / "config.toml").write_text(dump_toml(config))
    assert load_config(tmp_path / "config.toml") == config


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("training.epochs=20", "training", "epochs", 20),
        ("training.learning_rate=1e-3", "training", "learning_rate", 0.001),
        ("training.device=cpu", "training", "device", "cpu"),
        ("training.device='cuda:1'", "training", "device", "cuda:1"),
        ("training.device=cuda:1", "training", "device", "cuda:1"),
        (" transfer.correction = false", "transfer", "correction", False),
        ("training.monitor=ndcg@10", "training", "monitor", "ndcg@10"),
        ("model.name=sasrec", "model", "name", "sasrec"),
    ],
)
def test_overrides_take_toml_values_or_bare_words(override, section, key, value):
    assert getattr(getattr(load_config(overrides=[override]), section), key) == value


@pytest.mark.parametrize("override", ["epochs=3", "training.epochs", "training.=3", "training.epochs 3", ""])
def test_an_override_of_another_form_is_refused_with_an_example(override):
    with pytest.raises(ConfigError, match=r"--set takes section\.key=value.*for example"):
        load_config(overrides=[override])


def test_overrides_win_over_extra_over_the_file(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("[training]\nepochs = 1\nseed = 1\nbatch_size = 1\n")
    config = load_config(path, ["training.epochs=3"], {"training": {"epochs": 2, "seed": 2}})
    assert (config.training.epochs, config.training.seed, config.training.batch_size) == (3, 2, 1)


def test_a_key_where_a_section_belongs_is_one_clear_line(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("model = 'sasrec'\n")
    for overrides in ([], ["model.dim=8"]):
        with pytest.raises(ConfigError, match=r"model.*'sasrec'"):
            load_config(path, overrides)


def test_a_missing_file_and_one_that_is_no_toml(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: no such configuration file"):
        load_config(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("[training\n")
    with pytest.raises(ConfigError, match=r"bad\.toml: is not TOML"):
        load_config(tmp_path / "bad.toml")


def test_a_preset_is_found_by_its_name_and_may_be_changed():
    config = load_config(Path("syncrec-paper"), ["model.dim=32"])
    assert (config.model.score, config.model.time, config.training.monitor_answer) == ("dot", False, "cross")
    assert config.model.dim == 32


def test_a_file_goes_before_a_preset_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("syncrec-paper").write_text("[model]\ndim = 12\n")
    assert load_config(Path("syncrec-paper")).model.dim == 12
    with pytest.raises(
        ConfigError, match="no-such-preset: neither a configuration file nor a preset; the presets are: syncrec-paper"
    ):
        load_config(Path("no-such-preset"))
