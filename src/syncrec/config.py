"""Typed, frozen settings: TOML in, everything checked at once, dumped beside every result.

A configuration file has one table a section (`[model]`, `[loss]`, `[transfer]`, `[training]`). `config_keys` lists
every key with its default and meaning; unknown keys are refused with the nearest known one.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator
from pydantic.fields import FieldInfo

from syncrec.answers import Answer
from syncrec.errors import ConfigError
from syncrec.schema import Section, keys_of, parse_settings

__all__ = [
    "Config",
    "LossConfig",
    "ModelConfig",
    "PrepareConfig",
    "Section",
    "TrainingConfig",
    "TransferConfig",
    "config_keys",
    "dump_toml",
    "field_of",
    "load_config",
    "load_run_config",
    "parse_settings",
    "read_toml",
    "with_later_settings",
]

LATER_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "model": {"unknown_items": "read"},
    "loss": {"mean_over": "targets"},
    "transfer": {"weights": "relative"},
}
"""Settings that came after others, at the value that does what was done without them."""

_ROWS_FROM = 100_000
_PRESETS = Path(__file__).with_name("presets")


class PrepareConfig(Section):
    """How a raw log becomes a dataset."""

    min_user_interactions: int = Field(5, ge=1, description="drop users with fewer events (iterated, k-core)")
    min_item_interactions: int = Field(1, ge=1, description="drop items with fewer events (iterated, k-core)")
    min_user_domains: int = Field(1, ge=1, description="drop users seen in fewer domains")
    max_history: int | None = Field(None, ge=3, description="keep a user's last n events only; none keeps all")
    drop_repeats: bool = Field(False, description="drop an event that repeats the user's event just before it")
    ties: Literal["input", "shuffle"] = Field(
        "input",
        description="order of a user's events with equal time: as in the input, or shuffled by `seed`",
    )
    split: Literal["leave-one-out", "temporal"] = Field(
        "leave-one-out", description="last event test and last but one validation, or by time"
    )
    validation_from: str | None = Field(
        None,
        description="temporal split: ISO date, epoch seconds, or a fraction of the events (0.8) in time order",
    )
    test_from: str | None = Field(None, description="temporal split: likewise; events from here on are the test part")
    bad_rows: Literal["refuse", "skip"] = Field(
        "refuse", description="stop at the first bad row, or write bad rows to a rejects file and go on"
    )
    seed: int = Field(0, ge=0, description="seed of `ties = shuffle`")


class ModelConfig(Section):
    """The network. Letters as in model.md: K = num_experts, j = num_cross_experts, T = max_length."""

    name: str = Field("syncrec", description="a registered model; `syncrec models` lists them")
    dim: int = Field(64, ge=4, description="size of embeddings and expert outputs")
    num_layers: int = Field(1, ge=1, description="Transformer blocks in each expert")
    num_heads: int = Field(2, ge=1, description="attention heads; divides dim")
    feedforward_multiplier: float = Field(2.0, gt=0, description="hidden size of feed-forward parts, times dim")
    num_experts: int = Field(4, ge=2, description="K: sequential experts, each with its own parameters (M3)")
    num_cross_experts: int = Field(2, ge=1, description="j: the first j experts are cross experts (M3)")
    max_length: int = Field(50, ge=1, description="T: events of a history the model sees, the latest ones")
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout after embedding, attention, feed-forward and tower")
    score: Literal["dot", "cosine"] = Field("cosine", description="inner product (M7), or cosine over temperature")
    temperature: float = Field(0.1, gt=0, description="divides cosine scores; without effect on dot scores")
    reads: Literal["related", "all"] = Field(
        "related",
        description="whose events a domain reads beside its own in the cross view: not those of domains that training "
        "events show to tell nothing of it, nor it of them, unless a third connects them (not in the paper); or all",
    )
    item_start: Literal["random", "co-occurrence"] = Field(
        "co-occurrence",
        description="first values of item embeddings: random, or near each other for items that the same users had in "
        "training; not in the paper",
    )
    item_similarity: bool = Field(
        False,
        description="add a decaying mean of the history's item vectors to every answer; not in the paper; helps where "
        "people stay with similar items, harms where the next item is unlike the last",
    )
    positions: Literal["start", "end", "both"] = Field(
        "end",
        description="count positions of events from the start of the history, from its end, so that the last event of "
        "a question has the position of the last ones in training, or both",
    )
    time: bool = Field(
        True,
        description="embed the period of each event and the time since the one before it; not in the paper",
    )
    unknown_items: Literal["skip", "read"] = Field(
        "skip",
        description="items of a history that have no training event, whose vectors no training has put into a history: "
        "skip them, or read them as the paper does",
    )
    sharded_items: bool = Field(
        False,
        description="share the rows of the item table out over the processes that train or evaluate, for a catalogue "
        "that one device cannot hold; needs item_start = random",
    )
    mixing: Literal["asymmetric", "no-stop-gradient", "no-separation", "own-only"] = Field(
        "asymmetric",
        description="ACMoE (M5), or an ablation: every task trains all experts; likewise with one gate for all "
        "tasks; no task reads the other side's experts",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ModelConfig":
        if self.dim % self.num_heads:
            raise ValueError(f"dim must be a multiple of num_heads, got {self.dim} and {self.num_heads}")
        if self.num_cross_experts >= self.num_experts:
            raise ValueError(
                f"num_cross_experts must be below num_experts, got {self.num_cross_experts} and {self.num_experts}"
            )
        if self.sharded_items and self.item_start != "random":
            raise ValueError(f"sharded_items needs item_start = random, got {self.item_start}")
        return self


class LossConfig(Section):
    """The next-item loss, always against items of the target's own domain."""

    kind: Literal["full", "sampled", "bce", "gbce"] = Field(
        "full", description="full softmax, sampled softmax with log-Q correction, BCE, or gBCE"
    )
    num_negatives: int = Field(
        1024, ge=1, description="sampled: negatives a domain, shared in the batch; bce and gbce: a target"
    )
    negatives: Literal["uniform", "popularity"] = Field("uniform", description="how negatives are drawn")
    gbce_calibration: float = Field(0.75, ge=0, le=1, description="t of gBCE; 0 is BCE")
    mean_over: Literal["targets", "users"] = Field(
        "targets", description="a domain's loss is the mean over its targets, or over users of the means of theirs"
    )
    single_weight: float = Field(1.0, ge=0, description="a of (M12): weight of the single loss")
    mutual_information_weight: float = Field(0.1, ge=0, description="b of (M12): weight of SC-MIM; 0 turns it off")
    auxiliary_weight: float = Field(
        0.1,
        ge=0,
        description="weight of the losses that a model adds of its own (`c2dsr`: infomax, `cgrec`: contrast of two "
        "levels); 0 turns them off",
    )


class TransferConfig(Section):
    """Loss correction by the negative transfer gap, LC-NTG (M8)-(M10); of `cgrec` by contributions of domains."""

    correction: bool = Field(
        True, description="weigh the cross losses of the domains that read others (M10); off: weight 1 each"
    )
    weights: Literal["relative", "harm"] = Field(
        "harm",
        description="relative: the paper's softmax, by which a domain that gains less than another has less weight; "
        "harm: a domain that suffers has less, all others have 1; no effect on `cgrec`, which has weights of its own",
    )
    alpha: float = Field(0.99, ge=0, lt=1, description="decay of the relative gap (M9), or of contributions")
    beta: float = Field(0.01, gt=0, description="what a step's gap adds to the relative gap (M9); contributions alike")
    temperature: float = Field(1.0, gt=0, description="of relative gaps (M10), or of negative transfer")
    gap: Literal["training", "validation"] = Field(
        "training",
        description="where the gap (M8) is measured: on the targets of each step, or after each epoch on those of the "
        "validation split, which no view can have learned by heart",
    )


class TrainingConfig(Section):
    """The loop."""

    epochs: int = Field(40, ge=1, description="passes over the training data at most")
    batch_size: int = Field(128, ge=1, description="users a step")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of AdamW")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW; not on biases and norms")
    warmup_steps: int = Field(100, ge=0, description="steps of linear warm-up")
    schedule: Literal["constant", "cosine"] = Field("cosine", description="learning rate after the warm-up")
    gradient_clip: float = Field(1.0, gt=0, description="largest gradient norm")
    patience: int = Field(10, ge=1, description="epochs without a better validation metric before stopping")
    monitor: Literal["mrr", "ndcg@10", "hr@10"] = Field("mrr", description="validation metric, mean over domains")
    monitor_answer: Answer = Field("fused", description="the answer it is taken of")
    refit: Literal["none", "validation"] = Field(
        "none",
        description="validation: once validation has chosen epoch and fusion weights, train anew for as many epochs on "
        "training and validation events together, and answer with that model; doubles the time",
    )
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    seed: int = Field(0, ge=0, description="of weights, order, negatives and dropout")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 autocast on a GPU that has it, float32 on a CPU"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    threads: int = Field(0, ge=0, description="CPU threads; 0: OMP_NUM_THREADS, else every core this process may use")
    item_updates: Literal["auto", "dense", "rows"] = Field(
        "auto",
        description="update all rows of the item table, or those a step used; auto: rows from 100,000 items on, "
        "unless the loss is the full softmax, which uses all",
    )
    checkpoint_every_steps: int = Field(0, ge=0, description="steps between checkpoints inside an epoch; 0: none")


class Config(Section):
    """All settings of a training run."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    transfer: TransferConfig = Field(default_factory=TransferConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if self.training.item_updates == "rows" and self.loss.kind == "full":
            raise ValueError(
                "training.item_updates = rows makes no sense with loss.kind = full, which uses every item; "
                "use dense, or loss.kind = sampled"
            )
        return self

    def updates_rows(self, num_items: int) -> bool:
        """Whether the item table of a catalogue of this size is updated in the rows used alone."""
        if self.training.item_updates != "auto":
            return self.training.item_updates == "rows"
        return self.loss.kind != "full" and num_items >= _ROWS_FROM


def load_config(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    extra: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """The configuration of a TOML file, then `extra`, then `section.key=value` overrides; later ones win.

    `path` may also be the name of a preset that comes with the package: `syncrec-paper`.

    Raises:
        ConfigError: the file is missing or no TOML; every unknown key and bad value, all at once.
    """
    where = str(path) if path else "settings"
    values = read_toml(_find_preset(path)) if path else {}
    if not all(isinstance(entries, dict) for entries in values.values()):
        return parse_settings(Config, values, where)  # refuses it
    for section, entries in (extra or {}).items():
        values.setdefault(section, {}).update(entries)
    for override in overrides:
        section, key, value = _parse_override(override)
        values.setdefault(section, {})[key] = value
    return parse_settings(Config, values, where)


def load_run_config(path: Path) -> Config:
    """The settings in the file of a run; those that came after it have the value that it was made with.

    Raises:
        ConfigError: as `load_config`.
    """
    return parse_settings(Config, with_later_settings(read_toml(path)), str(path))


def with_later_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by section, as they were written once; those that came after have the value of `LATER_SETTINGS`."""
    filled = dict(values)
    for section, entries in LATER_SETTINGS.items():
        if isinstance(found := values.get(section, {}), Mapping):
            filled[section] = {**entries, **found}
    return filled


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: it is missing, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from None


def _find_preset(path: Path) -> Path:
    """The file of a preset, if `path` is the name of one and not a file.

    Raises:
        ConfigError: it is neither, and has no extension, so that a preset was meant.
    """
    preset = _PRESETS / f"{path}.toml"
    if path.exists() or path.suffix:
        return path
    if not preset.exists():
        known = ", ".join(sorted(place.stem for place in _PRESETS.glob("*.toml")))
        raise ConfigError(f"{path}: neither a configuration file nor a preset; the presets are: {known}")
    return preset


def _parse_override(text: str) -> tuple[str, str, Any]:
    name, equals, raw = text.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise ConfigError(f"--set takes section.key=value, got {text!r}; for example --set training.epochs=20")
    try:
        return section, key, tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return section, key, raw.strip()


def config_keys(schema: type[BaseModel] | None = None, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(`section.key`, default, meaning) of every setting of `schema`, by default of all of a run."""
    return keys_of(schema or Config, prefix)


def field_of(key: str) -> FieldInfo:
    """The declaration of the setting `section.key`, which must be one of `config_keys`."""
    section, _, name = key.partition(".")
    declared: FieldInfo = Config.model_fields[section].annotation.model_fields[name]  # type: ignore[union-attr]
    return declared


def dump_toml(config: BaseModel) -> str:
    """`config` as TOML that `load_config` reads back to an equal value; keys set to none are left out."""
    lines: list[str] = []
    for section, values in config.model_dump().items():
        lines += [
            f"[{section}]",
            *(f"{k} = {_toml_value(v)}" for k, v in values.items() if v is not None),
            "",
        ]
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON's escapes are TOML's
    return repr(value)
