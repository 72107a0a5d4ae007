"""The figures of a transfer report, from its content."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncrec.reports.html.figures import Mark, forest, lines

__all__ = ["LEAST_QUERIES", "all_figures"]

# A mean over fewer is left out of a figure.
LEAST_QUERIES = 30


def all_figures(content: Mapping[str, Any]) -> dict[str, Any]:
    """SVG text by name; `training` and `strata` are lists of titles with figures."""
    return {
        "verdict": [_verdict_figure(verdict) for verdict in content["verdicts"]],
        "accuracy": _accuracy_figure(content["accuracy"]),
        "training": list(_training_figures(content["training"]["epochs"], content["data"]["domains"])),
        "strata": [_stratum_figure(found) for found in content["strata"]],
    }


def _verdict_figure(verdict: Mapping[str, Any]) -> str | None:
    """Relative changes with intervals; those that cannot be drawn (a baseline of 0) are left out."""
    rows = [row for row in [*verdict["domains"], verdict["macro"]] if None not in row["relative"].values()]
    marks = [Mark(row["domain"], **row["relative"], colour=row["verdict"]) for row in rows]
    if not marks:
        return None
    description = f"Change of {verdict['metric'].upper()} by domain with 95 % intervals"
    return forest(marks, description, is_share=True, gaps=[len(marks) - 1] if len(marks) > 1 else [])


def _accuracy_figure(accuracy: Mapping[str, Any]) -> str:
    answers = list(dict.fromkeys(row["answer"] for row in accuracy["rows"]))
    marks, gaps, last = [], [], None
    for row in accuracy["rows"]:
        if last is not None and row["domain"] != last:
            gaps.append(len(marks))
        label = row["domain"] if row["domain"] != last else ""
        marks.append(Mark(label, **row["interval"], colour=answers.index(row["answer"])))
        last = row["domain"]
    description = f"{accuracy['metric'].upper()} of every answer by domain with 95 % intervals"
    return forest(marks, description, gaps=gaps)


def _training_figures(epochs: Sequence[Mapping[str, Any]], domains: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(title, figure) of what the log holds; a line a domain."""
    if not epochs:
        return
    positions = [record["epoch"] + 1 for record in epochs]

    def figure(title: str, values: Sequence[Mapping[str, float]], *, zero: bool = False) -> tuple[str, str]:
        series = {domain: [of_epoch.get(domain) for of_epoch in values] for domain in domains}
        return title, lines(series, positions, f"{title} by epoch, a line a domain", zero=zero)

    answers = [name for name in ("cross", "single") if name in epochs[0]["loss"]]
    for name in answers:
        yield figure(f"Training loss of the {name} answer, nats", [record["loss"][name] for record in epochs])
    if len(answers) > 1:
        gaps, weights = ([record[key] for record in epochs] for key in ("transfer_gap", "weight"))
        alone = [domain for domain in domains if not any(of_epoch.get(domain) for of_epoch in [*gaps, *weights])]
        gaps, weights = ([_without(of_epoch, alone) for of_epoch in values] for values in (gaps, weights))
        yield figure("Transfer gap: single minus cross loss, nats", gaps, zero=True)
        yield figure("Correction weight of the cross loss", weights, zero=True)
    yield from _validation_figures(epochs, domains)


def _without(values: Mapping[str, float], domains: Sequence[str]) -> dict[str, float]:
    """The others' values: a domain that reads itself alone has no cross loss, so its gap and weight are 0."""
    return {domain: value for domain, value in values.items() if domain not in domains}


def _validation_figures(epochs: Sequence[Mapping[str, Any]], domains: Sequence[str]) -> Iterator[tuple[str, str]]:
    validated = [record for record in epochs if "validation" in record]
    if not validated:
        return
    positions = [record["epoch"] + 1 for record in validated]
    for answer in validated[0]["validation"]:
        reports = [record["validation"][answer]["domains"] for record in validated]
        series = {domain: [report.get(domain, {}).get("ndcg@10") for report in reports] for domain in domains}
        title = f"Validation NDCG@10, {answer} answer"
        yield title, lines(series, positions, f"{title} by epoch, a line a domain")


def _stratum_figure(found: Mapping[str, Any]) -> str:
    """Of strata with enough queries; the first line is the widest, so that equal ones do not hide each other."""
    together = [row for row in found["rows"] if row["domain"] is None]
    rows = {row["stratum"]: row["answers"] for row in together if row["num_queries"] >= LEAST_QUERIES}
    answers = list(together[0]["answers"]) if together else []
    ordered = [name for name in ("single", "cross", "fused") if name in answers]
    ordered += [name for name in answers if name not in ordered]
    series = {name: [rows.get(label, {}).get(name) for label in found["labels"]] for name in ordered}
    labels = [_short(label) for label in found["labels"]]
    description = f"{found['metric'].upper()} by {found['title']}"
    return lines(series, list(range(len(labels))), description, labels=labels, widths=(4.5, 3, 1.5))


def _short(label: str) -> str:
    return label.replace("up to ", "≤ ").replace("under ", "< ").removesuffix(" %")
