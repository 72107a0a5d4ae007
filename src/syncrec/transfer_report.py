"""The transfer report: from trained runs to results on disk, and from these to one HTML file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec import artifacts
from syncrec.analysis.explanation import explain_history
from syncrec.analysis.gates import gate_usage
from syncrec.analysis.histories import history_of
from syncrec.analysis.removal import removal_matrices
from syncrec.analysis.strata import accuracy_by_stratum, stratifications
from syncrec.answers import main_answer
from syncrec.data.dataset import Queries
from syncrec.data.titles import ItemTitles, read_titles
from syncrec.errors import ConfigError
from syncrec.evaluation import EvaluationResult, load_result, result_path
from syncrec.evaluation.comparison import check_comparable
from syncrec.pipeline import Run
from syncrec.reports.accuracy import accuracy_content
from syncrec.reports.html.page import check_renderer, render_page
from syncrec.reports.verdict import verdicts_of_groups
from syncrec.retraining import retrained_cells
from syncrec.rng import numpy_generator
from syncrec.runs import ANALYSIS_NAME, BEST_NAME, REFIT_NAME, library_versions
from syncrec.training.tracking import read_log

__all__ = ["ANALYSIS_KIND", "ReportOptions", "analyse", "current_result", "explain", "report_content", "write_report"]

ANALYSIS_KIND = "transfer-analysis"
_ANALYSIS_VERSION = 1
_K = 10


@dataclass(frozen=True)
class ReportOptions:
    """What the report holds: number of example users, a file of item titles, and where to train without a domain."""

    num_users: int = 4
    items: Path | None = None
    retrain_in: Path | None = None
    seed: int = 0


def write_report(
    runs: Sequence[Run], out: Path, options: ReportOptions | None = None, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Make the report of `runs` and write it to `out`, one HTML file.

    The first run is what the report is about; more of its training seeds join its verdict, and a run of
    `sasrec-single` is what it is measured against. Each run is evaluated on the test split if that was not done since
    it was trained; what the model is asked beyond that is kept in the first run's `results` folder.

    Args:
        runs: trained on one dataset.
        out: the file.
        options: what goes in.
        say: is told what is being done.

    Returns:
        the content of the report, in values for JSON.

    Raises:
        MissingCapabilityError: the packages of the extra `report` are not installed.
        ArtifactError: the runs are of different datasets, or `out` cannot be written; this is known
            before anything is computed.
    """
    options = options or ReportOptions()
    check_renderer()
    titles = ItemTitles() if options.items is None else read_titles(options.items)
    with artifacts.replaced_file(out) as place:
        content = report_content(runs, options, titles, say)
        say("writing the page")
        place.write_text(render_page(content), encoding="utf-8")
    return content


def report_content(
    runs: Sequence[Run], options: ReportOptions, titles: ItemTitles, say: Callable[[str], None]
) -> dict[str, Any]:
    """Everything the page shows, in values for JSON."""
    if not runs:
        raise ConfigError("a report needs at least one run, got none")
    first = runs[0]
    results = [current_result(run, say) for run in runs]
    check_comparable(results, [str(run.path) for run in runs])
    verdicts, groups = verdicts_of_groups(results, [str(run.path) for run in runs])
    analysis = analyse(first, results[0], say, options.seed)
    retrained = None
    if options.retrain_in is not None:
        retrained = retrained_cells(first, results[0], options.retrain_in, say)
    say("explaining answers to a few users")
    return {
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": library_versions(),
        "runs": [_run_content(run, result) for run, result in zip(runs, results, strict=True)],
        "verdicts": [found.content() for found in verdicts],
        "data": {**first.dataset.manifest, "domains": list(first.dataset.domains), "files": None},
        "training": _training_content(first),
        "accuracy": accuracy_content(groups),
        **{key: analysis[key] for key in ("strata", "transfer", "gates")},
        "retrained": retrained,
        "users": list(_example_users(first, results[0], options, titles)),
    }


def current_result(run: Run, say: Callable[[str], None] = lambda _: None) -> EvaluationResult:
    """The run's result on the test split under protocol `full`: that on disk if it is newer than the model."""
    path = result_path(run.path, "test", "full")
    model = run.path / (BEST_NAME if run.config.training.refit == "none" else f"{REFIT_NAME}/{BEST_NAME}")
    if path.exists() and model.exists() and path.stat().st_mtime >= model.stat().st_mtime:
        return load_result(path)
    say(f"evaluating {run.path}")
    return run.evaluate()


def analyse(
    run: Run, result: EvaluationResult, say: Callable[[str], None] = lambda _: None, seed: int = 0
) -> dict[str, Any]:
    """What the model is asked for the report; also written to `results/transfer-test.json` of the run.

    Returns:
        `transfer` (see `removal_matrices`; None for a model that reads one domain only), `gates` (see `gate_usage`) and
        `strata` (see `accuracy_by_stratum`).
    """
    dataset, queries = run.dataset, run.dataset.queries("test")
    say("accuracy by kind of query")
    ends = dataset.train_end if run.config.training.refit == "none" else dataset.validation_end
    kinds = stratifications(dataset, queries, np.asarray(ends))
    strata = [accuracy_by_stratum(result, found, seed=seed) for found in kinds]
    say("transfer matrix: answering without each domain's events")
    reads_others = "cross" in run.trained.model.views
    transfer = removal_matrices(run.trained, dataset, queries, result, seed=seed) if reads_others else None
    say("use of experts")
    gates = gate_usage(run.trained.model, dataset, dataset.queries("validation"))
    content = {
        "kind": ANALYSIS_KIND,
        "schema_version": _ANALYSIS_VERSION,
        "dataset_checksum": dataset.checksum,
        "model": result.provenance.model,
        "transfer": transfer,
        "gates": gates,
        "strata": strata,
    }
    artifacts.write_json(run.path / "results" / ANALYSIS_NAME, content)
    return content


def explain(run: Run, user: str, domain: str, k: int = _K, titles: ItemTitles | None = None) -> dict[str, Any]:
    """What `user` would be recommended in `domain` after all events in the dataset, and why; see `explain_history`.

    Raises:
        UnknownUserError, UnknownDomainError: a name is not in the dataset.
        ConfigError: `k` is below 1.
    """
    dataset = run.dataset
    number = dataset.user_index(user)
    start, stop = dataset.user_offsets[number : number + 2]
    history = history_of(dataset, int(start), int(stop))
    found = explain_history(run.trained, dataset, history, dataset.domain_index(domain), k)
    return {"user": user, **_with_titles(found, titles or ItemTitles())}


def _with_titles(found: dict[str, Any], titles: ItemTitles) -> dict[str, Any]:
    history = [{**event, "title": titles.title(event["domain"], event["item"])} for event in found["history"]]
    answers = {
        name: [{**entry, "title": titles.title(found["domain"], entry["item"])} for entry in entries]
        for name, entries in found["answers"].items()
    }
    return {**found, "history": history, "answers": answers}


def _run_content(run: Run, result: EvaluationResult) -> dict[str, Any]:
    return {
        "path": str(run.path),
        "model": result.provenance.model,
        "seed": result.provenance.seed,
        "protocol": result.protocol,
        "split": result.split,
        "epoch": run.trained.epoch + 1,
        "fusion_weights": None if result.provenance.fusion_weights is None else dict(result.provenance.fusion_weights),
        "settings": {section: dict(values) for section, values in result.provenance.config.items()},
    }


def _training_content(run: Run) -> dict[str, Any]:
    """The run's log, an entry an epoch, and how large the model is."""
    model = run.trained.model
    return {
        "epochs": read_log(run.directory.logs()[0]),
        "best_epoch": run.trained.epoch,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_item_parameters": model.embedding.items.weight.numel(),
        "checkpoint_bytes": (run.path / BEST_NAME).stat().st_size,
        "max_length": model.config.max_length,
    }


def _example_users(
    run: Run, result: EvaluationResult, options: ReportOptions, titles: ItemTitles
) -> Iterator[dict[str, Any]]:
    """Test queries with their answers explained."""
    dataset, queries = run.dataset, run.dataset.queries("test")
    for number, why in _chosen_queries(result, queries, options):
        history = history_of(dataset, int(queries.history_starts[number]), int(queries.target_events[number]))
        domain = int(queries.domains[number])
        found = _with_titles(explain_history(run.trained, dataset, history, domain, _K), titles)
        item = dataset.item_id(int(queries.targets[number]))
        yield {
            "user": dataset.users[int(queries.users[number])],
            "why": why,
            "target": {"item": item, "title": titles.title(dataset.domains[domain], item)},
            "ranks": {name: float(answer.ranks[number]) for name, answer in result.answers.items()},
            **found,
        }


def _chosen_queries(result: EvaluationResult, queries: Queries, options: ReportOptions) -> Iterator[tuple[int, str]]:
    """Numbers of queries and why they are shown: where the joint answer gains and loses most, then some by chance."""
    taken: set[int] = set()
    if "single" in result.answers and len(result.answers) > 1:
        answer = main_answer(name for name in result.answers if name != "single")
        gains = 1 / result.answers[answer].ranks - 1 / result.answers["single"].ranks
        extremes = [
            (int(gains.argmax()), "the joint answer gains most"),
            (int(gains.argmin()), "the joint answer loses most"),
        ]
        for number, why in [(n, w) for n, w in extremes if gains[n]][: options.num_users]:
            taken.add(number)
            yield number, why
    order: npt.NDArray[np.int64] = numpy_generator(options.seed, "report-users").permutation(len(queries))
    rest = [number for number in order.tolist() if number not in taken]
    yield from ((number, "drawn by chance") for number in rest[: max(0, options.num_users - len(taken))])
