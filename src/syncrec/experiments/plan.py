"""What an experiment is: a TOML file, checked at once, and the cells that it asks for."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from syncrec.baselines import BASELINES, Refit
from syncrec.config import (
    Config,
    PrepareConfig,
    Section,
    config_keys,
    field_of,
    load_config,
    parse_settings,
    read_toml,
)
from syncrec.errors import ConfigError, nearest_names
from syncrec.evaluation.metrics import check_metric
from syncrec.evaluation.protocols import find_protocol
from syncrec.evaluation.results import Estimate, EvaluationResult
from syncrec.models.registry import find_model

__all__ = ["Cell", "ModelEntry", "Part", "Plan", "Range", "load_plan", "load_plans"]

Value = bool | int | float | str
Label = TypeVar("Label", str, int)
_NEVER_IN_NAMES = set("/\\:\0\n")
_LONGEST_NAME = 100


class DatasetEntry(Section):
    """A prepared dataset, or a raw log and how to prepare it."""

    dataset: Path | None = Field(None, description="a prepared dataset")
    log: Path | None = Field(None, description="a raw log, prepared once into the experiment's directory")
    prepare: PrepareConfig = Field(default_factory=PrepareConfig, description="how to prepare `log`")

    @model_validator(mode="after")
    def _one_source(self) -> "DatasetEntry":
        if (self.dataset is None) == (self.log is None):
            raise ValueError("give exactly one of dataset and log")
        return self


class ModelEntry(Section):
    """A row of the grid: a registered model and the settings that are its own, or one of `BASELINES`."""

    name: str = Field("", description="the registered model; by default the row's own label")
    settings: dict[str, Value] = Field(default_factory=dict, description="section.key = value, over the common ones")
    tune: bool = Field(True, description="whether the tuning budget is spent on it")
    like: str | None = Field(None, description="take what tuning chose for this row instead, as an ablation does")


class Range(Section):
    """An interval that tuning draws from, on a logarithmic scale if asked for."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"low must be below high (and above 0 on a log scale), got {self.low} and {self.high}")
        return self


class Tuning(Section):
    """The same budget for every model: `trials` runs of `epochs` epochs, chosen on validation data alone."""

    trials: int = Field(0, ge=0, description="runs for each dataset and model; 0 turns tuning off")
    epochs: int | None = Field(None, ge=1, description="epochs of a trial; by default those of the run")
    seed: int = Field(0, ge=0, lt=1 << 32, description="of the trials and of Optuna's sampler")
    space: dict[str, Annotated[list[Value], Field(min_length=1)] | Range] = Field(
        default_factory=dict, description="section.key = a list of choices, or {low, high, log}"
    )


class Plan(Section):
    """A whole experiment. Paths are relative to the plan's file."""

    datasets: dict[str, DatasetEntry] = Field(min_length=1)
    models: dict[str, ModelEntry] = Field(min_length=1)
    seeds: list[Annotated[int, Field(strict=True)]] = Field(
        default=[0, 1, 2, 3, 4], min_length=1, description="training seeds"
    )
    protocols: list[str] = Field(default=["full"], min_length=1, description="each result is made under all of them")
    metric: str = Field("ndcg@10", description="of the comparisons")
    subject: str | None = Field(None, description="the model that claims something; by default the first")
    twin: str | None = Field(None, description="its single-domain twin")
    settings: dict[str, Value] = Field(default_factory=dict, description="section.key = value, for every model")
    tuning: Tuning = Field(default_factory=Tuning)
    estimate: Estimate = Field("drawn", description="of sampled protocols")

    @model_validator(mode="after")
    def _consistent(self) -> "Plan":
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds must differ and be at least 0, got {self.seeds}")
        if len(set(self.protocols)) < len(self.protocols):
            raise ValueError(f"protocols must differ, got {', '.join(self.protocols)}")
        likes = ((f"models.{label}.like", entry.like) for label, entry in self.models.items())
        for field, name in (("subject", self.subject), ("twin", self.twin), *likes):
            if name is not None and name not in self.models:
                raise ValueError(f"{field} must be one of the models ({', '.join(self.models)}), got {name!r}")
        if self.twin == self.subject_label:
            raise ValueError(f"twin must be another model than the subject, got {self.twin!r} for both")
        for field, label in (("subject", self.subject_label), ("twin", self.twin)) if self.twin else ():
            if self.is_baseline(str(label)):
                raise ValueError(f"{field} must be a model that is trained, got {label!r}; name another as {field}")
        if self.tuning.trials and not self.tuning.space:
            raise ValueError("tuning.trials without tuning.space: name what to tune")
        return self

    @model_validator(mode="after")
    def _likes_are_tuned(self) -> "Plan":
        for label, entry in self.models.items():
            if entry.like and (
                self.models[entry.like].like or not self.models[entry.like].tune or self.is_baseline(entry.like)
            ):
                raise ValueError(f"models.{label}.like must be a row that is tuned itself, got {entry.like!r}")
        return self

    @model_validator(mode="after")
    def _labels_name_folders(self) -> "Plan":
        for kind, labels in (("datasets", self.datasets), ("models", self.models)):
            for label in labels:
                is_name = label and not label.startswith(".") and not set(label) & _NEVER_IN_NAMES
                if not is_name or len(label.encode()) > _LONGEST_NAME:
                    raise ValueError(
                        f"{kind}: {label!r} cannot be the name of a folder; take one without slashes that does not "
                        f"begin with a dot, of at most {_LONGEST_NAME} bytes"
                    )
        return self

    @model_validator(mode="after")
    def _baselines_are_left_alone(self) -> "Plan":
        for label, entry in self.models.items():
            model = self.model_name(label)
            if self.is_baseline(label) and entry.like:
                raise ValueError(f"models.{label}.like: {model} is not tuned; leave it out")
            if self.is_baseline(label) and set(entry.settings) - {"training.refit"}:
                raise ValueError(f"models.{label}.settings: {model} has none but training.refit; leave them out")
        return self

    def estimate_of(self, result: EvaluationResult) -> Estimate:
        """The estimate wanted of a result: of a protocol that draws nothing there is one alone."""
        return "drawn" if result.num_eligible is None else self.estimate

    @property
    def subject_label(self) -> str:
        """The model that is compared with the others."""
        return self.subject or next(iter(self.models))

    def cells(self) -> Iterator["Cell"]:
        """Every run that has to be trained, dataset by dataset and seed by seed, so that early results compare."""
        for dataset in self.datasets:
            for seed in self.seeds:
                for label in self.models:
                    if not self.is_baseline(label):
                        yield Cell(dataset, label, seed)

    def baseline_rows(self) -> Iterator[tuple[str, str]]:
        """Dataset and label of every model without a run."""
        for dataset in self.datasets:
            for label in self.models:
                if self.is_baseline(label):
                    yield dataset, label

    def refit(self, label: str) -> Refit:
        """Whether the model of a row knows validation events when it answers test queries.

        Raises:
            ConfigError: the value of `training.refit` is none of those.
        """
        key = "training.refit"
        value = {**self.settings, **self.models[label].settings}.get(key)
        return load_config(None, [] if value is None else [f"{key}={value}"]).training.refit

    def is_tuned(self, label: str) -> bool:
        """Whether trials are spent on a row itself."""
        entry = self.models[label]
        return self.tuning.trials > 0 and entry.tune and not entry.like and not self.is_baseline(label)

    def is_baseline(self, label: str) -> bool:
        """Whether a row is one of `BASELINES`, which have no run."""
        return self.model_name(label) in BASELINES

    def model_name(self, label: str) -> str:
        """The registered model of a row."""
        return self.models[label].name or label

    def config(self, label: str, seed: int, chosen: dict[str, Value] | None = None) -> Config:
        """The settings of a run: the common ones, then what tuning chose, then the row's own.

        Raises:
            ConfigError: they make no sense together.
        """
        values = {**self.settings, **(chosen or {}), **self.models[label].settings}
        values |= {"model.name": self.model_name(label), "training.seed": seed}
        return load_config(None, [], _nested(values))


@dataclass(frozen=True)
class Cell:
    """One run of the grid."""

    dataset: str
    label: str
    seed: int

    def __str__(self) -> str:
        return f"{self.dataset} {self.label} seed {self.seed}"


@dataclass(frozen=True)
class Part:
    """The models, seeds and datasets of a plan that are wanted; none of a kind: all of them."""

    models: Collection[str] = ()
    seeds: Collection[int] = ()
    datasets: Collection[str] = ()

    def of(self, plan: Plan) -> Plan:
        """`plan` with what is wanted alone, in its own order; a subject or twin that is not wanted is none.

        Raises:
            ConfigError: the plan has no such model, seed or dataset, or a row wants what tuning chose for one left out.
        """
        models = {label: plan.models[label] for label in _chosen("model", self.models, plan.models)}
        for label, entry in models.items():
            if entry.like and entry.like not in models:
                raise ConfigError(f"model {label} takes what tuning chooses for {entry.like}; add --model {entry.like}")
        content = {
            "models": models,
            "seeds": _chosen("seed", self.seeds, plan.seeds),
            "datasets": {name: plan.datasets[name] for name in _chosen("dataset", self.datasets, plan.datasets)},
            "subject": plan.subject if plan.subject in models else None,
        }
        part = plan.model_copy(update=content)
        has_twin = plan.twin in set(models) - {part.subject_label} and not part.is_baseline(part.subject_label)
        return part if has_twin else part.model_copy(update={"twin": None})


def _chosen(kind: str, wanted: Collection[Label], known: Collection[Label]) -> list[Label]:
    for name in wanted:
        if name not in known:
            near = nearest_names(str(name), map(str, known), limit=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"the plan has no {kind} {name!r}{hint} (it has {', '.join(map(str, known))})")
    return [name for name in known if not wanted or name in wanted]


def load_plan(path: Path, part: Part | None = None) -> Plan:
    """The plan in a TOML file, or `part` of it: the second of `load_plans`."""
    return load_plans(path, part)[1]


def load_plans(path: Path, part: Part | None = None) -> tuple[Plan, Plan]:
    """The plan in a TOML file and `part` of it (by default all), with absolute paths; those of the part exist.

    Raises:
        ConfigError: the file is missing or no TOML; every unknown key and bad value, all at once; it has no such part.
    """
    plan = parse_settings(Plan, read_toml(path), str(path))
    try:
        check_metric(plan.metric)
        for protocol in plan.protocols:
            find_protocol(protocol)
    except Exception as error:
        raise ConfigError(f"{error} ({path})") from None
    _check_keys(plan, path)
    for label in plan.models:
        try:
            if plan.is_baseline(label):
                plan.refit(label)
            else:
                find_model(plan.config(label, plan.seeds[0]).model.name)
        except ConfigError as error:
            raise ConfigError(f"models.{label}: {error} ({path})") from None
    base = path.resolve().parent
    plan = plan.model_copy(update={"datasets": {name: _absolute(entry, base) for name, entry in plan.datasets.items()}})
    wanted = (part or Part()).of(plan)
    for entry in wanted.datasets.values():
        for key, place in (("dataset", entry.dataset), ("log", entry.log)):
            if place and not place.exists():
                raise ConfigError(
                    f"datasets: {key} = {place}: no such file or directory; paths are relative to the plan"
                )
    return plan, wanted


def _absolute(entry: DatasetEntry, base: Path) -> DatasetEntry:
    places = {key: base / place for key, place in (("dataset", entry.dataset), ("log", entry.log)) if place}
    return entry.model_copy(update=places)


def _check_keys(plan: Plan, path: Path) -> None:
    known = [key for key, _, _ in config_keys()]
    own = {key: f"models.{label}.settings" for label, entry in plan.models.items() for key in entry.settings}
    for key, where in {
        **dict.fromkeys(plan.settings, "settings"),
        **dict.fromkeys(plan.tuning.space, "tuning.space"),
        **own,
    }.items():
        if key not in known:
            near = nearest_names(key, known, limit=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}: unknown key {key!r}{hint} (`syncrec keys` lists them; {path})")
    for key, choices in plan.tuning.space.items():
        _check_choices(key, choices, path)
    _check_that_keys_matter(plan, path)


def _check_that_keys_matter(plan: Plan, path: Path) -> None:
    """Refuse what would be given and then not be what a run or a trial has."""
    given = {"settings": set(plan.settings), "tuning.space": set(plan.tuning.space)}
    given |= {f"models.{label}.settings": set(entry.settings) for label, entry in plan.models.items()}
    for where, keys in given.items():
        for key, winner in {"model.name": "models.LABEL.name", "training.seed": "seeds"}.items():
            if key in keys:
                raise ConfigError(f"{where}: {key} has no effect in a plan, where {winner} says it ({path})")
    fixed = {"training.refit": "trials are never fitted again"}
    fixed |= dict.fromkeys(("training.monitor", "training.monitor_answer"), "trials are compared by it")
    if plan.tuning.epochs is not None:
        fixed["training.epochs"] = "tuning.epochs says how long a trial is"
    for key, why in fixed.items():
        if key in plan.tuning.space:
            raise ConfigError(f"tuning.space: {key} cannot be tuned: {why} ({path})")
    for label, entry in plan.models.items():
        if plan.is_tuned(label) and (both := set(entry.settings) & set(plan.tuning.space)):
            raise ConfigError(
                f"models.{label}.settings: {min(both)} is also in tuning.space, and all its trials would be equal "
                f"in it; leave out one, or set models.{label}.tune = false ({path})"
            )


def _check_choices(key: str, choices: list[Value] | Range, path: Path) -> None:
    """See that each value may be had, whatever the others are."""
    field = field_of(key)
    if isinstance(choices, Range) and field.annotation not in (int, float):
        raise ConfigError(f"tuning.space: {key} is no number; give a list of choices, not a range ({path})")
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    for value in (choices.low, choices.high) if isinstance(choices, Range) else choices:
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            told = error.errors()[0]["msg"]
            raise ConfigError(f"tuning.space: {key} = {value!r}: {told} ({path})") from None


def _nested(values: dict[str, Value]) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    return sections
