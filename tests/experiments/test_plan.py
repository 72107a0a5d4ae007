import pytest

from syncrec.errors import ConfigError
from syncrec.experiments.plan import Cell, Part, load_plan


def plan_with(tmp_path, text):
    (tmp_path / "log.csv").write_text("user,item,domain,timestamp\n")
    path = tmp_path / "plan.toml"
    path.write_text(text if "[datasets" in text else f'{text}\n[datasets.d]\nlog = "log.csv"\n[models.sasrec]\n')
    return path


def test_settings_are_the_common_ones_then_the_chosen_then_the_models_own(plan_path):
    plan = load_plan(plan_path)
    config = plan.config("uncorrected", 3, {"training.learning_rate": 0.5, "model.dim": 8})
    assert (config.model.name, config.model.dim, config.training.seed) == ("syncrec", 8, 3)
    assert (config.training.learning_rate, config.transfer.correction) == (0.5, False)


def test_cells_are_what_has_to_be_trained_seed_by_seed(plan_path):
    cells = list(load_plan(plan_path).cells())
    assert cells[:3] == [Cell("small", label, 0) for label in ("syncrec", "alone", "uncorrected")]
    assert len(cells) == 6


def test_paths_are_relative_to_the_plan(plan_path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load_plan(plan_path).datasets["small"].log == plan_path.parent / "log.csv"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = [1]", "unknown key 'seed'; did you mean 'seeds'"),
        ("seeds = [1, 1]", r"seeds must differ and be at least 0, got \[1, 1\]"),
        ('protocols = ["fll"]', "fll"),
        ('protocols = ["full", "full"]', "protocols must differ, got full, full"),
        ("[tuning]\nseed = 4294967296", "tuning.seed must be less than 4294967296, got 4294967296"),
        (
            '[tuning]\ntrials = 2\n[tuning.space]\n"training.monitor" = ["mrr", "hr@10"]',
            "tuning.space: training.monitor cannot be tuned: trials are compared by it",
        ),
        ('metric = "ndgc@10"', "ndgc@10"),
        ('twin = "alone"', "twin must be one of the models"),
        ('settings = {"training.lr" = 1}', "settings: unknown key 'training.lr'"),
        ('settings = {"model.dim" = 7}', r"models.sasrec: .*dim must be a multiple of num_heads.*plan.toml\)"),
        ("seeds = [true, false]", "seeds.0 must be a valid integer, got True"),
        ('twin = "sasrec"', "twin must be another model than the subject, got 'sasrec' for both"),
        (
            '[datasets.d]\nlog = "log.csv"\n[models.sasrec]\ntune = false\n'
            '[models.b]\nname = "sasrec"\nlike = "sasrec"',
            "models.b.like must be a row that is tuned itself, got 'sasrec'",
        ),
        ("[tuning]\ntrials = 2", "tuning.trials without tuning.space"),
        ('[tuning.space]\n"training.learning_rate" = {low = 1, high = 0.1}', "low must be below high"),
        (
            '[datasets.d]\nlog = "gone.csv"\n[models.sasrec]',
            "no such file or directory; paths are relative to the plan",
        ),
        ("[datasets.d]\n[models.sasrec]", "exactly one of dataset and log"),
        ('[datasets.d]\nlog = "log.csv"\n[models.a]\nlike = "b"', "models.a.like must be one of the models"),
        (
            '[datasets.d]\nlog = "log.csv"\n[models.a]\nlike = "b"\n[models.b]\nlike = "a"',
            "models.a.like must be a row that is tuned itself, got 'b'",
        ),
        (
            '[datasets.d]\nlog = "log.csv"\n[models.bpr-mf]\nsettings = {"model.dim" = 32}',
            "models.bpr-mf.settings: bpr-mf has none but training.refit",
        ),
        (
            '[datasets.d]\nlog = "log.csv"\n[models.bpr-mf]\nsettings = {"training.refit" = "test"}',
            "training.refit must be 'none' or 'validation', got 'test'",
        ),
        (
            'twin = "sasrec"\n[datasets.d]\nlog = "log.csv"\n[models.popularity]\n[models.sasrec]',
            "subject must be a model that is trained, got 'popularity'; name another as subject",
        ),
        (
            'twin = "popularity"\n[datasets.d]\nlog = "log.csv"\n[models.sasrec]\n[models.popularity]',
            "twin must be a model that is trained, got 'popularity'",
        ),
        (
            '[datasets.d]\nlog = "log.csv"\n[models.sasrec]\n[models.popularity]\nlike = "sasrec"',
            "models.popularity.like: popularity is not tuned; leave it out",
        ),
        ('settings = {"training.seed" = 3}', "settings: training.seed has no effect in a plan, where seeds says it"),
        (
            '[tuning.space]\n"model.name" = ["sasrec"]',
            "model.name has no effect in a plan, where models.LABEL.name says",
        ),
        (
            '[tuning.space]\n"training.refit" = ["none"]',
            "training.refit cannot be tuned: trials are never fitted again",
        ),
        (
            '[tuning]\nepochs = 3\n[tuning.space]\n"training.epochs" = [1, 2]',
            "training.epochs cannot be tuned: tuning.epochs says how long a trial is",
        ),
        (
            '[datasets.d]\nlog = "log.csv"\n[models.sasrec]\nsettings = {"model.dim" = 32}\n[tuning]\ntrials = 1\n'
            '[tuning.space]\n"model.dim" = [16, 32]',
            "models.sasrec.settings: model.dim is also in tuning.space, .* or set models.sasrec.tune = false",
        ),
        (
            '[tuning.space]\n"model.score" = ["dot", "cosin"]',
            "tuning.space: model.score = 'cosin': Input should be 'dot'",
        ),
        ('[tuning.space]\n"model.dim" = [64, -1]', "tuning.space: model.dim = -1: Input should be greater than"),
        ('[tuning.space]\n"model.dim" = {low = 16.5, high = 128}', "tuning.space: model.dim = 16.5: Input should be"),
        ('[tuning.space]\n"model.score" = {low = 1, high = 2}', "tuning.space: model.score is no number"),
        ('[datasets.d]\nlog = "log.csv"\n[models.sasrek]', "unknown model 'sasrek'; did you mean 'sasrec'"),
        *(
            (f'[datasets.d]\nlog = "log.csv"\n[models."{label}"]\nname = "sasrec"', "models: .* name of a folder")
            for label in ("../../out", "a/b", ".hidden", "", "a" * 101)
        ),
        ('[datasets."a/b"]\nlog = "log.csv"\n[models.sasrec]', "datasets: 'a/b' cannot be the name of a folder"),
        ("no toml", "is not TOML"),
    ],
)
def test_a_bad_plan_is_refused_in_one_line(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said) as error:
        load_plan(plan_with(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_baseline_asks_nothing_of_settings_that_others_make_sense_of(tmp_path):
    text = """settings = {"model.num_cross_experts" = 4}
        [datasets.d]
        log = "log.csv"
        [models.syncrec]
        settings = {"model.num_experts" = 6}
        [models.popularity]
    """
    assert load_plan(plan_with(tmp_path, text)).refit("popularity") == "none"


def test_choices_may_be_words_and_switches(tmp_path):
    space = '[tuning.space]\n"model.score" = ["dot", "cosine"]\n"model.time" = [true, false]\n"loss.kind" = ["full"]'
    assert load_plan(plan_with(tmp_path, space)).tuning.space["model.time"] == [True, False]


def test_a_baseline_knows_validation_events_where_the_common_settings_or_its_own_say_so(tmp_path):
    text = """settings = {"training.refit" = "validation"}
        [datasets.d]
        log = "log.csv"
        [models.sasrec]
        [models.popularity]
        [models.item-knn]
        settings = {"training.refit" = "none"}
    """
    plan = load_plan(plan_with(tmp_path, text))
    assert [plan.refit(label) for label in plan.models] == ["validation", "validation", "none"]


ROWS = """
seeds = [3, 1, 2]
subject = "b"
twin = "a"
[datasets.d]
log = "log.csv"
[datasets.e]
log = "log.csv"
[models.a]
name = "sasrec"
[models.b]
name = "syncrec"
[models.c]
name = "syncrec"
like = "b"
[models.popularity]
"""


def test_a_part_has_what_is_wanted_in_the_order_of_the_plan(tmp_path):
    path = plan_with(tmp_path, ROWS)
    part = load_plan(path, Part(["b", "a"], [2, 3], ["e"]))
    assert list(part.cells()) == [Cell("e", label, seed) for seed in (3, 2) for label in ("a", "b")]
    assert (part.subject_label, part.twin) == ("b", "a")
    assert load_plan(path, Part()) == load_plan(path)


def test_only_the_logs_of_a_part_must_be_there(tmp_path):
    path = plan_with(tmp_path, ROWS.replace('e]\nlog = "log.csv"', 'e]\nlog = "gone.csv"'))
    assert list(load_plan(path, Part(datasets=["d"])).datasets) == ["d"]


@pytest.mark.parametrize(
    ("models", "subject", "twin"),
    [(["a"], "a", None), (["b"], "b", None), (["a", "popularity"], "a", None), (["popularity"], "popularity", None)],
)
def test_a_part_has_a_twin_only_for_another_model_that_is_trained(tmp_path, models, subject, twin):
    part = load_plan(plan_with(tmp_path, ROWS), Part(models))
    assert (part.subject_label, part.twin) == (subject, twin)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Part(["bb"]), r"the plan has no model 'bb'; did you mean 'b'\? \(it has a, b, c, popularity\)"),
        (Part(seeds=[4]), r"the plan has no seed 4.*\(it has 3, 1, 2\)"),
        (Part(datasets=["x"]), r"the plan has no dataset 'x'.*\(it has d, e\)"),
        (Part(["c"]), "model c takes what tuning chooses for b; add --model b"),
    ],
)
def test_a_part_that_is_none_is_refused(tmp_path, part, said):
    with pytest.raises(ConfigError, match=said):
        load_plan(plan_with(tmp_path, ROWS), part)
