"""A model card as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncrec.reports.summary import community_line
from syncrec.reports.tables import MACRO, TABLE_METRICS, Table, TableRow

__all__ = ["card_markdown"]

_Card = Mapping[str, Any]


def card_markdown(card: _Card) -> str:
    """The whole card; everything in it is in `card`."""
    model = card["model"]
    sections = {
        "Intended use": _bullets(card["intended_use"]),
        "Data": _data(card["data"]),
        "Training": _bullets(_training(card)),
        "Results": "\n".join(map(_result, card["results"])) or "None yet.\n",
        "Limits": _bullets(card["limits"]),
        "Versions": _bullets(f"{name} {version}" for name, version in card["versions"].items()),
    }
    head = f"# Model card: {card['run']}\n\n`{model['name']}`: {model['description']}. Source: {model['source']}.\n"
    return "\n".join([head, *(f"## {title}\n\n{text}" for title, text in sections.items())])


def _bullets(lines: Iterator[str] | Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)


def _data(data: _Card) -> str:
    size = f"{data['events']:,} events, {data['users']:,} users, {data['items']:,} items, {data['bytes'] / 1e6:,.1f} MB"
    lines = [
        f"{size}; {data['first']} to {data['last']} UTC",
        f"split: {data['split']}; {data['users_without_targets']:,} users without a target",
        f"fingerprint (SHA-256): `{data['checksum']}`",
    ]
    rows = tuple(_domain_row(domain) for domain in data["domains"])
    columns = ("domain", "events", "users", "items", "training", "validation", "test", "from", "to")
    return f"{_bullets(lines)}\n{Table('By domain', columns, (rows,)).to_markdown()}"


def _domain_row(domain: _Card) -> TableRow:
    keys = ("events", "users", "items", "train_events", "validation_events", "test_events")
    return domain["name"], *(f"{domain[key]:,}" for key in keys), domain["first"][:10], domain["last"][:10]


def _training(card: _Card) -> Iterator[str]:
    training, weights = card["training"], card["fusion_weights"]
    epochs = f"{training['epochs']} epochs of at most {training['max_epochs']}, {_duration(training['seconds'])}"
    yield f"{epochs}; epoch {training['best_epoch']} has the best {training['chosen_by']}"
    if training["refit"]:
        again = training["refit"]
        yield f"then anew on training and validation events: {again['epochs']} epochs, {_duration(again['seconds'])}"
    yield f"seed {training['seed']}"
    yield community_line(card["communities"])
    if weights is not None:
        shown = ", ".join(f"{domain} {weight:g}" for domain, weight in weights.items())
        yield f"weight of the single answer in the fused one, chosen on validation: {shown}"
    changed = ", ".join(f"`{key} = {value}`" for key, value in card["changed_settings"].items())
    yield f"settings other than the defaults: {changed or 'none'}; all are in `config.toml` and `card.json`"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _result(result: _Card) -> str:
    """One table: every answer in each domain and in their mean."""
    source = (
        f"`results/{result['file']}`"
        if result["file"]
        else "log of the best epoch; fused with weights 0, 1/2 and 1 alone"
    )
    title = f"{result['split']}, protocol {result['protocol']} ({source})"
    domains = dict.fromkeys(name for entry in result["answers"].values() for name in entry["domains"])
    groups = [tuple(_rows(result, name)) for name in domains] + [tuple(_rows(result, MACRO))]
    return Table(title, ("domain", "queries", "answer", *map(str.upper, TABLE_METRICS)), tuple(groups)).to_markdown()


def _rows(result: _Card, domain: str) -> Iterator[TableRow]:
    counts = result["num_queries"]
    total = sum(counts.values()) if domain == MACRO else counts[domain]
    for answer, entry in result["answers"].items():
        means = entry["macro"] if domain == MACRO else entry["domains"].get(domain, {})
        cells = (f"{means[metric]:.4f}" if metric in means else "-" for metric in TABLE_METRICS)
        yield domain, f"{total:,}", answer, *cells
