"""The results of an experiment as Markdown and JSON: every number, and how sure it is."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from syncrec import artifacts
from syncrec.answers import main_answer
from syncrec.errors import ConfigError
from syncrec.evaluation import EvaluationResult
from syncrec.evaluation.comparison import Comparison, Contestant, compare
from syncrec.evaluation.metrics import Summary
from syncrec.evaluation.results import Estimate
from syncrec.evaluation.seeds import seed_mean
from syncrec.experiments.findings import Findings
from syncrec.experiments.gap_plot import draw_gaps
from syncrec.experiments.gaps import GapPoint, gap_content, gap_points, gap_table
from syncrec.experiments.plan import Plan
from syncrec.reports.tables import MACRO, TABLE_METRICS, Table, comparison_table, percentages, spread
from syncrec.stats import holm_correction

__all__ = ["check_place", "summarise_experiment", "write_summary"]

_HEAD = "Made by `syncrec benchmark`."

Results = Mapping[str, Sequence[EvaluationResult]]


@dataclass(frozen=True)
class _Row:
    """One answer of one model of the grid."""

    label: str
    answer: str
    results: Sequence[EvaluationResult]
    estimate: Estimate

    @property
    def name(self) -> str:
        return self.label if len(self.results[0].answers) == 1 else f"{self.label} {self.answer}"

    def values(self, metric: str) -> dict[str, list[float]]:
        """Of each domain, and of their mean: `metric` in each seed."""
        domains = {d: [s.domains[d][metric] for s in self._summaries] for d in self._summaries[0].domains}
        return {**domains, MACRO: [s.macro[metric] for s in self._summaries]}

    @cached_property
    def _summaries(self) -> list[Summary]:
        return [result.summary(self.answer, self.estimate) for result in self.results]


def check_place(markdown: Path) -> None:
    """See that the results may be written to `markdown` and beside it.

    Raises:
        ConfigError: it is called like the JSON file beside it, or other files are there.
    """
    beside = markdown.with_suffix(".json")
    if directory := next((path for path in (markdown, beside) if path.is_dir()), None):
        raise ConfigError(f"{directory}: is a directory; give --report the name of a Markdown file")
    if markdown == beside:
        raise ConfigError(f"{markdown}: is where the same as JSON goes; give the Markdown file, {markdown.stem}.md")
    if markdown.is_file() and _HEAD not in markdown.read_text(encoding="utf-8", errors="replace")[:200]:
        raise ConfigError(f"{markdown}: exists and holds no results of `syncrec benchmark`; choose another --report")
    if beside.is_file() and '"sections"' not in beside.read_text(encoding="utf-8", errors="replace"):
        raise ConfigError(f"{beside}: exists and holds no results of `syncrec benchmark`; choose another --report")


def write_summary(experiment: Findings, markdown: Path) -> dict[str, Any]:
    """Write `results.md` and, beside it, `results.json`; gives the content of the latter."""
    content = summarise_experiment(experiment)
    artifacts.write_text(markdown, "\n".join(_markdown(experiment, content, _picture_beside(markdown))) + "\n")
    shown = {key: value for key, value in content.items() if key != "tables"}
    artifacts.write_json(markdown.with_suffix(".json"), shown)
    picture = _picture_beside(markdown)
    if "gaps" in content and picture is not None:
        points = [GapPoint(**point) for point in content["gaps"]["points"]]
        artifacts.write_text(picture, draw_gaps(points, experiment.plan.metric))
    return content


def _picture_beside(markdown: Path) -> Path | None:
    """Where the picture of gaps goes; None without the package that draws it."""
    return None if find_spec("matplotlib") is None else markdown.with_name(f"{markdown.stem}-gap.svg")


def summarise_experiment(experiment: Findings) -> dict[str, Any]:
    """Metrics of every answer, paired differences, cost; `tables` holds them as text for each dataset and protocol."""
    plan = experiment.plan
    content: dict[str, Any] = {"machine": _machine(), "seeds": plan.seeds, "sections": [], "missing": {}}
    content["tables"], computed_by = {}, set()
    for dataset in plan.datasets:
        for protocol in plan.protocols:
            results = experiment.results(dataset, protocol)
            if missing := experiment.missing(results):
                content["missing"][f"{dataset}, {protocol}"] = missing
            if results:
                computed_by |= {pair for rs in results.values() for r in rs for pair in r.provenance.versions.items()}
                section, tables = _section(experiment, dataset, protocol, results)
                content["sections"].append(section)
                content["tables"][f"{dataset}, {protocol}"] = tables
    content["chosen"] = {
        dataset: {label: chosen for label in plan.models if (chosen := experiment.effective(dataset, label))}
        for dataset in plan.datasets
    }
    names = sorted({name for name, _ in computed_by})
    content["versions"] = {name: sorted(v for n, v in computed_by if n == name) for name in names}
    if points := gap_points(experiment, plan.protocols[0]):
        content["gaps"] = gap_content(points)
        content["tables"][f"transfer gap, {plan.protocols[0]}"] = [gap_table(points, plan.metric)]
    return content


def _section(experiment: Findings, dataset: str, protocol: str, results: Results) -> tuple[dict[str, Any], list[Table]]:
    plan = experiment.plan
    rows = [
        _Row(label, answer, found, plan.estimate_of(found[0]))
        for label, found in results.items()
        for answer in found[0].answers
    ]
    comparisons = list(_comparisons(plan, rows))
    tables = [_metrics_table(rows), *(_comparison_table(*found) for found in comparisons)]
    others = list(_others(plan, rows))
    if others:
        tables.append(_others_table(plan, others))
    cost = {label: _cost(experiment, dataset, label) for label in results}
    tables.append(_cost_table(cost))
    section = {
        "dataset": dataset,
        "protocol": protocol,
        "metrics": {row.name: {m: row.values(m) for m in TABLE_METRICS} for row in rows},
        "comparisons": [{"kind": kind, **_comparison_json(found)} for found, kinds in comparisons for kind in kinds],
        "others": [
            {**_comparison_json(comparison), "p_value_over_models": p_value}
            for comparison, p_value in zip(others, _p_values_over_models(others), strict=True)
        ],
        "cost": cost,
    }
    return section, tables


def _main_row(rows: Sequence[_Row], label: str) -> _Row | None:
    """The answer that stands for a model; None without a result of it."""
    own = {row.answer: row for row in rows if row.label == label}
    return own[main_answer(own)] if own else None


def _paired(plan: Plan, *pair: _Row) -> list[_Row] | None:
    """Two rows with the seeds that both have, a model that is no run meeting each of them; None if there is none."""
    trained = [row for row in pair if not plan.is_baseline(row.label)]
    common = set.intersection(*({r.provenance.seed for r in row.results} for row in trained or pair))
    found = [
        replace(row, results=[r for r in row.results if row not in trained or r.provenance.seed in common])
        for row in pair
    ]
    return found if all(row.results for row in found) else None


def _compare(plan: Plan, candidate: _Row, baseline: _Row) -> Comparison | None:
    """Over the seeds that both have; None if there is none."""
    if not (pair := _paired(plan, candidate, baseline)):
        return None
    sides = [Contestant(row.results, row.answer) for row in pair]
    found = compare(*sides, metric=plan.metric, estimate=candidate.estimate)
    return replace(found, candidate=candidate.name, baseline=baseline.name)


def _comparisons(plan: Plan, rows: Sequence[_Row]) -> Iterator[tuple[Comparison, list[str]]]:
    """The subject against its single-domain twin, and against the best of all models that are no variant of it.

    With each what the other model is; the two may be one. The best is that with the highest mean of domains on the very
    data that it is compared on, seeds included, which favours the baseline.
    """
    subject = _main_row(rows, plan.subject_label)
    if subject is None:
        return
    twin = _main_row(rows, plan.twin) if plan.twin else None
    rivals = [row for row in rows if plan.model_name(row.label) != plan.model_name(plan.subject_label)]
    compared = [(row, pair[1]) for row in rivals if (pair := _paired(plan, subject, row))]
    best = max(compared, key=lambda found: float(np.mean(found[1].values(plan.metric)[MACRO])), default=(None, None))[0]
    kinds = {"single-domain twin": twin, "best baseline": best}
    for row in [twin] if twin is best else [twin, best]:
        if row and (found := _compare(plan, subject, row)):
            yield found, [kind for kind, other in kinds.items() if other is row]


def _others(plan: Plan, rows: Sequence[_Row]) -> Iterator[Comparison]:
    """Every other model against the subject: what an ablation loses."""
    subject = _main_row(rows, plan.subject_label)
    for label in plan.models:
        row = _main_row(rows, label)
        if subject and row and label != plan.subject_label and (found := _compare(plan, row, subject)):
            yield found


def _comparison_table(comparison: Comparison, kinds: Sequence[str]) -> Table:
    table = comparison_table(comparison)
    return replace(table, title=f"{table.title}; {', '.join(kinds)}")


def _metrics_table(rows: Sequence[_Row]) -> Table:
    groups = []
    for domain in rows[0].values(TABLE_METRICS[0]):  # those with targets
        cells = [(row, [row.values(metric)[domain] for metric in TABLE_METRICS]) for row in rows]
        groups.append(
            tuple(
                (domain, row.name, str(len(row.results)), *(spread(seed_mean(v)) for v in values))
                for row, values in cells
            )
        )
    columns = ("domain", "answer", "seeds", *map(str.upper, TABLE_METRICS))
    return Table("test split, mean ± standard deviation over seeds", columns, tuple(groups))


def _others_table(plan: Plan, comparisons: Sequence[Comparison]) -> Table:
    domains = list(comparisons[0].domains)
    rows = []
    for found, corrected in zip(comparisons, _p_values_over_models(comparisons), strict=True):
        changes = [next(iter(percentages(found.domains[d].relative))) for d in domains]
        p_values = (f"{found.macro.p_value:.4f}", f"{corrected:.4f}")
        rows.append((found.candidate, *changes, *percentages(found.macro.relative), *p_values))
    title = f"{plan.metric.upper()} of every other model against {comparisons[0].baseline}"
    return Table(title, ("answer", *domains, MACRO, "95 % interval", "p", "p over models"), (tuple(rows),))


def _p_values_over_models(comparisons: Sequence[Comparison]) -> list[float]:
    """Of the mean of domains, corrected for how many models are compared with the same one (Holm)."""
    return holm_correction([found.macro.p_value for found in comparisons])


def _cost(experiment: Findings, dataset: str, label: str) -> dict[str, float | int | None]:
    seconds = experiment.cpu_seconds(dataset, label)
    return {
        "cpu_seconds": round(float(np.mean(seconds)), 1) if seconds else None,
        "parameters": experiment.num_parameters(dataset, label),
    }


def _cost_table(cost: Mapping[str, Mapping[str, float | int | None]]) -> Table:
    rows = [(label, *("-" if v is None else f"{v:,.0f}" for v in values.values())) for label, values in cost.items()]
    return Table("cost of a run", ("answer", "CPU seconds of training", "parameters"), (tuple(rows),))


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    content = asdict(comparison)
    for part in (*content["domains"].values(), content["macro"]):
        for key in ("absolute", "relative"):
            part[key] = [value if np.isfinite(value) else None for value in part[key]]
    return content


def _machine() -> dict[str, str]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _markdown(experiment: Findings, content: Mapping[str, Any], picture: Path | None) -> Iterator[str]:
    plan = experiment.plan
    yield "# Results\n"
    yield (
        f"{_HEAD} Validation chose epochs, fusion weights and tuned settings; the test split was "
        f"read once for each run. Seeds: {', '.join(map(str, plan.seeds))}. Differences in {plan.metric.upper()} are "
        "paired over users and seeds: bootstrap over users, lengthened by the variance between seeds (Student's t); "
        "p-values over both, Holm-corrected over domains, and as `p over models` over the models of its table. The "
        "best baseline is the best on the test data shown, which favours it.\n"
    )
    if several := {name: found for name, found in content["versions"].items() if len(found) > 1}:
        told = "; ".join(f"{name} {', '.join(found)}" for name, found in several.items())
        yield f"**Results of different versions are compared here**: {told}.\n"
    if content["missing"]:
        lines = [f"- {title}: {', '.join(lacking)}" for title, lacking in content["missing"].items()]
        yield "\n".join(["**Without a result so far**, and so in none of these tables:\n", *lines, ""])
    yield _budget(experiment)
    refit = plan.refit(plan.subject_label)
    if others := [label for label in plan.models if plan.refit(label) != refit]:
        what = "training events alone" if refit == "validation" else "validation events, too"
        yield f"Unlike {plan.subject_label}, these models know {what}: {', '.join(others)}.\n"
    for title, tables in content["tables"].items():
        yield f"## {title}\n"
        yield from (table.to_markdown() for table in tables)
    if "gaps" in content:
        yield _correlations(content["gaps"]["correlations"])
        if picture is not None:
            yield f"![Transfer gap inside the joint model, and what joint training brings]({picture.name})\n"


def _correlations(found: Mapping[str, Any]) -> str:
    domains, seeds = found["domains"], found["seeds"]
    if domains["pearson"] is None:
        return "Too few domains for a correlation.\n"
    signs = (
        ""
        if (share := found["agree_in_sign"]) is None
        else (f" The sign is the same in {share:.0%} of domains with a gap.")
    )
    return (
        f"Correlation over the means of domains: Pearson {domains['pearson']:.2f} (p = {domains['pearson_p']:.3f}), "
        f"Spearman {domains['spearman']:.2f}; over all seeds and domains: Pearson {seeds['pearson']:.2f}, Spearman "
        f"{seeds['spearman']:.2f}.{signs}\n"
    )


def _budget(experiment: Findings) -> str:
    plan = experiment.plan
    if not plan.tuning.trials:
        return "No tuning: every model has the settings of the plan.\n"
    epochs = plan.tuning.epochs or "all"
    lines = [
        f"Tuning budget: trials of {epochs} epochs, as many as stand here; other models have the plan's settings.\n"
    ]
    for dataset in plan.datasets:
        for label, entry in plan.models.items():
            if chosen := experiment.effective(dataset, label):
                settings = ", ".join(f"{key} = {value}" for key, value in chosen.items())
                trials, failed = experiment.tuning_trials(dataset, label)
                left_out = f", of which {failed} failed" if failed else ""
                spent = f"those of {entry.like}" if entry.like else f"{trials} trials{left_out}"
                lines.append(f"- {dataset}, {label} ({spent}): {settings}")
    return "\n".join(lines) + "\n"
