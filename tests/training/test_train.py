"""`syncrec.pipeline.train`: what it looks at, and what the best checkpoint is left with."""

from dataclasses import replace

import pytest
import torch

from syncrec import fitting
from syncrec.checkpoint import load_checkpoint
from syncrec.config import load_config
from syncrec.data.dataset import Dataset
from syncrec.pipeline import train
from syncrec.runs import BEST_NAME
from syncrec.validation import FUSION_GRID, validate


def test_training_never_looks_at_the_test_part(tiny_dataset_path, tmp_path, settings, monkeypatch):
    queries = Dataset.queries

    def validation_only(self, split):
        assert split == "validation"
        return queries(self, split)

    monkeypatch.setattr(Dataset, "queries", validation_only)
    train(tiny_dataset_path, tmp_path / "run", settings=settings, show_progress=False)


def test_fusion_weights_are_those_of_the_best_epoch_on_validation(tiny_dataset, tmp_path, settings, monkeypatch):
    values = iter([0.1, 0.9, 0.2, 0.3])

    def second_epoch_is_best(*arguments, **options):
        found = validate(*arguments, **options)
        return found if len(arguments) == 5 else replace(found, value=next(values))

    monkeypatch.setattr(fitting, "validate", second_epoch_is_best)
    run = train(tiny_dataset, tmp_path / "run", settings=settings, show_progress=False)
    best = load_checkpoint(run.path / BEST_NAME).state
    assert best["epoch"] == run.trained.epoch == 1
    queries = tiny_dataset.queries("validation")
    found = validate(run.trained.model, tiny_dataset, queries, run.config.training, FUSION_GRID)
    assert best["fusion_weights"] == found.extra["fusion_weights"]


def test_a_model_of_one_answer_trains_without_fusion(tiny_dataset, tmp_path, settings):
    run = train(tiny_dataset, tmp_path / "run", model="sasrec", settings=[*settings[4:]], show_progress=False)
    assert run.trained.fusion_weights is None
    assert run.config.model.name == "sasrec"


def test_the_seed_decides_the_first_weights(tiny_dataset, tmp_path, settings):
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        frozen = [*settings, "training.epochs=1", "training.learning_rate=1e-12", f"training.seed={seed}"]
        run = train(tiny_dataset, tmp_path / name, settings=frozen, show_progress=False)
        weights.append(run.trained.model.state_dict()["embedding.items.weight"])
    assert torch.equal(weights[0], weights[1])
    assert (weights[0] - weights[2]).abs().mean() > 0.3 * weights[0].std()


@pytest.mark.parametrize("form", ["Config", "file", "words"])
def test_settings_may_come_as_config_file_or_words(form, tiny_dataset, tmp_path, settings):
    words = [*settings, "training.epochs=1"]
    (tmp_path / "a.toml").write_text("[training]\nseed = 3\n")
    given = {
        "Config": {"config": load_config(tmp_path / "a.toml", words)},
        "file": {"config": tmp_path / "a.toml", "settings": words},
        "words": {"settings": [*words, "training.seed=3"]},
    }
    run = train(tiny_dataset, tmp_path / "run", show_progress=False, **given[form])
    assert run.config == load_config(None, [*words, "training.seed=3"])
