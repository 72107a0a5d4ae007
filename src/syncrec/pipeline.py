"""The only place that wires stages together: prepare -> train -> evaluate -> recommend.

The functions are the Python API; the command line calls them and adds nothing.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from syncrec.answers import Answer
from syncrec.artifacts import exclusive
from syncrec.cards import has_card, refresh_card, write_fresh_card
from syncrec.cluster.engine import Engine
from syncrec.config import Config, PrepareConfig, load_config, parse_settings
from syncrec.data.dataset import Dataset, Split
from syncrec.errors import ConfigError, DataError
from syncrec.evaluation import (
    EvaluationResult,
    Provenance,
    Ranks,
    Rivals,
    evaluate_ranks,
    result_path,
    save_result,
    versions,
)
from syncrec.fitting import TrainingSession, find_communities
from syncrec.parallel import Processes, process_group, processes, together
from syncrec.ranker import make_ranker
from syncrec.runs import RunDirectory, TrainedModel
from syncrec.serving.recommender import Recommendation, Recommender
from syncrec.training.device import choose_device, use_threads
from syncrec.training.progress import ProgressStyle
from syncrec.training.tracking import check_tracker
from syncrec.training.warm_start import EarlierRun

if TYPE_CHECKING:
    from syncrec.data.prepare import Source

__all__ = [
    "Run",
    "open_run",
    "prepare",
    "train",
]


class Run:
    """A trained run: what `train` gives and what the commands `evaluate` and `recommend` work on."""

    def __init__(self, path: str | Path, dataset: str | Path | None = None, device: str = "auto") -> None:
        self.directory = RunDirectory.open(Path(path))
        self.path = self.directory.path
        self.config = self.directory.config
        self._dataset_path = None if dataset is None else Path(dataset)
        self._device = choose_device(device)
        use_threads(self.config.training.threads)

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset it was trained on; in a group of processes all must ask for it together, as for all here."""
        return together(lambda: self.directory.dataset(self._dataset_path))

    @cached_property
    def trained(self) -> TrainedModel:
        """The model that answers: of the best epoch, or fitted again on validation events too (`training.refit`)."""
        return self.directory.trained_model(self._device)

    def evaluate(self, split: Split = "test", protocol: str = "full", seed: int = 0) -> EvaluationResult:
        """Every answer of the run on `split`; the result is also kept in the run's `results` folder.

        In a group of processes (`syncrec.parallel.process_group`) they share the work, and each gets the result.
        """
        queries = self.dataset.queries(split)
        trained = self.trained if split == "test" else self.directory.trained_model(self._device, for_validation=True)

        def rank(rivals: Rivals) -> Ranks:
            return make_ranker(trained.model, self.dataset, queries).ranks(trained.fusion_weights, rivals)

        provenance = self._provenance(trained)
        result = evaluate_ranks(queries, self.dataset, rank, provenance, protocol=protocol, split=split, seed=seed)
        together(lambda: self._keep(result) if processes().is_main else None)
        return result

    def _keep(self, result: EvaluationResult) -> None:
        place = result_path(self.path, result.split, result.protocol, result.negatives_seed)
        save_result(place, result)
        refresh_card(self.directory, self.dataset, place)

    def recommend(
        self, user: str, domain: str, k: int = 10, *, answer: Answer = "fused", exclude_seen: bool = False
    ) -> list[Recommendation]:
        """The best `k` items of `domain` for a user of the dataset."""
        return self.recommender().for_user(user, domain, k, answer=answer, exclude_seen=exclude_seen)

    def recommender(self) -> Recommender:
        """For many questions, or for histories that are not in the dataset."""
        return Recommender(self.trained, self.dataset)

    def _provenance(self, trained: TrainedModel) -> Provenance:
        weights = trained.fusion_weights
        fusion = None if weights is None else dict(zip(self.dataset.domains, weights, strict=True))
        return Provenance(
            model=self.config.model.name,
            seed=self.config.training.seed,
            config=self.config.model_dump(),
            versions=versions(torch=torch.__version__),
            fusion_weights=fusion,
        )


def open_run(path: str | Path, dataset: str | Path | None = None, device: str = "auto") -> Run:
    """A run that was trained before; `dataset` if it was moved since."""
    return Run(path, dataset, device)


def prepare(
    *logs: "str | Path | Source",
    out: str | Path,
    columns: Mapping[str, str] | None = None,
    preset: str | None = None,
    overwrite: bool = False,
    engine: Engine | None = None,
    report: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> Dataset:
    """Make a dataset from raw logs.

    Args:
        logs: files or globs with a domain column, or `Source(pattern, domain)`.
        out: the directory to make.
        columns: the log's column names, for example `{"user": "reviewerID"}`.
        preset: a publisher's layout.
        overwrite: replace an older dataset.
        engine: of `syncrec.cluster.engine.open_engine`, whose workers do it; None: this process alone.
        report: is given lines about filters and counts.
        settings: keys of `PrepareConfig`, for example `max_history=50`.

    Raises:
        SyncrecError: bad settings, a bad log; nothing is left half-written.
    """
    from syncrec.data.prepare import Source
    from syncrec.data.prepare import prepare as prepare_dataset

    sources = [log if isinstance(log, Source) else Source(str(log)) for log in logs]
    checked = parse_settings(PrepareConfig, settings, "prepare")
    return prepare_dataset(
        sources, Path(out), checked, columns=columns, preset=preset, overwrite=overwrite, engine=engine, report=report
    )


def train(  # noqa: PLR0913 (all but two are options by name)
    dataset: Dataset | str | Path,
    out: str | Path,
    *,
    model: str | None = None,
    config: Config | str | Path | None = None,
    settings: Sequence[str] = (),
    resume: bool = False,
    warm_start: str | Path | None = None,
    communities: Sequence[int] | None = None,
    track: Sequence[str] = (),
    show_progress: ProgressStyle = True,
) -> Run:
    """Train a model on a prepared dataset; with others, if a launcher such as torchrun has started several processes.

    Args:
        dataset: prepared, or its directory.
        out: directory of the run; must be new or empty unless `resume`.
        model: a registered model, instead of the configuration's.
        config: settings, or a TOML file of settings; by default those of the run in `warm_start`.
        settings: overrides like `training.epochs=20`.
        resume: continue from the last checkpoint in `out`, with the settings it was begun with.
        warm_start: an earlier run to take the weights of; items are matched by domain and id, new ones begin fresh.
        communities: which domains read each other, as in `Catalogue`; by default what training events show
            (`model.reads`). A run that is gone on with or begun from has its own, and no others are taken.
        track: `tensorboard`, `mlflow`, beside the log that is always written.
        show_progress: a bar if stderr is a terminal; `"lines"`: elsewhere a line an epoch; False: nothing.

    Raises:
        KeyboardInterrupt: a signal stopped it; the state was saved first.
        SyncrecError: bad settings, a damaged checkpoint, a loss that is not finite, another process at work in `out`.
    """
    out = Path(out)
    with process_group() as group, contextlib.ExitStack() as held:
        data = dataset if isinstance(dataset, Dataset) else together(lambda: _opened(Path(dataset), group))
        wanted, begun = together(lambda: _wanted(data, out, model, config, settings, warm_start, resume=resume))
        for kind in track:
            check_tracker(kind)
        earlier, config = _earlier_run(warm_start, begun), wanted if begun is None else begun.config
        read_together = _communities(data, config, begun, earlier, communities)
        session = TrainingSession(data, config, out, earlier, read_together)
        directory = begun or together(lambda: _created(out, wanted, data, earlier, read_together))
        together(lambda: held.enter_context(exclusive(out)) if group.is_main else None)
        is_over = together(directory.is_finished)  # then nothing changes, and what it answered stays true
        together(lambda: directory.forget_results() if group.is_main and not is_over else None)
        if session.run(track, show_progress=show_progress):
            together(lambda: _tell_of_its_end(directory, data, is_over=is_over) if group.is_main else None)
            return Run(directory.path, data.path)
    raise KeyboardInterrupt


def _tell_of_its_end(run: RunDirectory, data: Dataset, *, is_over: bool) -> None:
    """Write the card of a run whose training has ended; if it had ended before (`is_over`), only if there is none."""
    if not is_over:
        run.forget_results()  # somebody may have asked it meanwhile
    if not (is_over and has_card(run)):
        write_fresh_card(run, data)


def _opened(path: Path, group: Processes) -> Dataset:
    """The dataset, whose content the main process alone checks."""
    return Dataset(path, check_content=group.is_main)


def _wanted(
    data: Dataset,
    out: Path,
    model: str | None,
    config: Config | str | Path | None,
    settings: Sequence[str],
    warm_start: str | Path | None,
    *,
    resume: bool,
) -> tuple[Config, RunDirectory | None]:
    """The settings asked for, and the run to go on with."""
    base = config if config is not None or warm_start is None else RunDirectory.open(Path(warm_start)).config
    wanted = _effective_config(base, model, settings)
    return wanted, _begun_run(out, data, wanted if model or config or settings else None) if resume else None


def _communities(
    data: Dataset,
    config: Config,
    begun: RunDirectory | None,
    earlier: EarlierRun | None,
    wanted: Sequence[int] | None,
) -> Sequence[int]:
    """Which domains read each other; their networks are built after it, so what goes on has to keep it.

    Raises:
        ConfigError: `wanted` is no number for each domain, or not what goes on has.
    """
    kept, path = None, None
    if begun is not None:
        kept, path = begun.communities, begun.path
    elif earlier is not None:
        kept, path = earlier.trained.model.catalogue.communities, earlier.path
    if kept is not None:
        if wanted is not None and tuple(wanted) != kept:
            raise ConfigError(
                f"{path}: its domains read each other by communities {kept}, and not by {tuple(wanted)}; "
                "choose another directory, or train from the start"
            )
        return kept
    if wanted is None:
        return find_communities(data, config)
    if len(wanted) not in (0, data.num_domains) or set(wanted) != set(range(len(set(wanted)))):
        raise ConfigError(
            f"communities must be one number for each of {data.num_domains} domains, 0, 1, ... without gaps; "
            f"got {tuple(wanted)}"
        )
    return tuple(int(number) for number in wanted)


def _created(
    out: Path, config: Config, data: Dataset, earlier: EarlierRun | None, read_together: Sequence[int]
) -> RunDirectory:
    """The run, made by the main process and opened by the others."""
    if not processes().is_main:
        return RunDirectory.open(out)
    return RunDirectory.create(out, config, data, None if earlier is None else earlier.path, read_together)


def _effective_config(config: Config | str | Path | None, model: str | None, settings: Sequence[str]) -> Config:
    extra = {"model": {"name": model}} if model else {}
    if isinstance(config, Config):
        values: dict[str, Any] = config.model_dump()
        values["model"].update(extra.get("model", {}))
        return load_config(None, settings, values)
    return load_config(None if config is None else Path(config), settings, extra)


def _begun_run(out: Path, data: Dataset, wanted: Config | None) -> RunDirectory | None:
    """The run in `out` to go on with, None if there is none yet; `wanted` are settings that it must have."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    directory = RunDirectory.open(out)
    if wanted is not None and (changes := ", ".join(_changes(directory.config, wanted))):
        raise ConfigError(
            f"--resume continues {out} with the settings it was begun with, but asked for is {changes}; "
            "leave out --model, --config and --set, or choose another --out"
        )
    if directory.is_of_another(data):
        raise DataError(f"{data.path}: is not the dataset that {out} was begun with (checksum or domain names differ)")
    return directory


def _earlier_run(warm_start: str | Path | None, begun: RunDirectory | None) -> EarlierRun | None:
    """The run to begin from; one that is resumed goes on with what it began from."""
    if begun is None:
        return None if warm_start is None else EarlierRun.open(Path(warm_start))
    path = begun.warm_start
    if warm_start is not None and (path is None or path.resolve() != Path(warm_start).resolve()):
        raise ConfigError(
            f"--resume continues {begun.path}, which began from {path or 'fresh weights'}; leave out --warm-start"
        )
    return EarlierRun.open(path) if path is not None and begun.needs_its_beginning() else None


def _changes(before: Config, after: Config) -> Iterator[str]:
    old, new = before.model_dump(), after.model_dump()
    for section, values in new.items():
        for key, value in values.items():
            if value != old[section][key]:
                yield f"{section}.{key} = {value!r} (was {old[section][key]!r})"
