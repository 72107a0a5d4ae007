"""The model card of a trained run: from its settings, its log, its result files and its dataset's facts, never a model.

Source of the idea: Mitchell et al., Model Cards for Model Reporting (FAT* 2019).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncrec import artifacts
from syncrec.config import Config
from syncrec.data.facts import DatasetFacts
from syncrec.evaluation import EvaluationResult
from syncrec.reports.card_text import card_markdown
from syncrec.reports.inspection import share

__all__ = ["JSON_NAME", "TEXT_NAME", "CardSubject", "make_card", "results_on_card", "write_card"]

JSON_NAME = "card.json"
TEXT_NAME = "card.md"
SCHEMA_VERSION = 1
_Record = Mapping[str, Any]


@dataclass(frozen=True)
class CardSubject:
    """What a card is about.

    `best_epoch` counts from 1. `logs` are the records of the fit and, with `training.refit`, of the second one.
    `fusion_weights` are the w of model.md (M13) by domain, None for a model with one answer. `communities` are the
    names of the domains that read each other.
    """

    name: str
    description: str
    source: str
    config: Config
    versions: Mapping[str, str]
    best_epoch: int
    fusion_weights: Mapping[str, float] | None
    logs: Sequence[Sequence[_Record]]
    communities: Sequence[Sequence[str]]


def make_card(subject: CardSubject, facts: DatasetFacts, results: Mapping[str, EvaluationResult]) -> dict[str, Any]:
    """The card as JSON; `results` by the name of their file."""
    config = subject.config
    return {
        "kind": "model-card",
        "schema_version": SCHEMA_VERSION,
        "run": subject.name,
        "model": {"name": config.model.name, "description": subject.description, "source": subject.source},
        "intended_use": list(_intended_use(facts)),
        "data": facts.to_json(),
        "settings": config.model_dump(),
        "changed_settings": _changed_settings(config),
        "communities": [list(names) for names in subject.communities],
        "training": _training(subject),
        "fusion_weights": None if subject.fusion_weights is None else dict(subject.fusion_weights),
        "results": [
            *_validation_from_log(subject, facts),
            *(_result(name, result) for name, result in results.items()),
        ],
        "limits": list(_limits(facts, config)),
        "versions": dict(subject.versions),
    }


def write_card(run: Path, card: Mapping[str, Any]) -> None:
    """Write `card.json` and `card.md` into a run, each in one step."""
    artifacts.write_json(run / JSON_NAME, card)
    artifacts.write_text(run / TEXT_NAME, card_markdown(card))


def results_on_card(run: Path) -> list[str] | None:
    """The names of the result files on the card of a run, None if it has no card.

    Raises:
        ArtifactError: the card is damaged.
    """
    path = run / JSON_NAME
    if not path.exists():
        return None
    results = artifacts.read_json(path, "model card").get("results", [])
    return [entry["file"] for entry in results if entry["file"] is not None]


def _changed_settings(config: Config) -> dict[str, Any]:
    defaults = Config().model_dump()
    return {
        f"{section}.{key}": value
        for section, values in config.model_dump().items()
        for key, value in values.items()
        if value != defaults[section][key]
    }


def _training(subject: CardSubject) -> dict[str, Any]:
    first, *second = subject.logs
    training = subject.config.training
    return {
        "epochs": len(first),
        "max_epochs": training.epochs,
        "best_epoch": subject.best_epoch,
        "chosen_by": f"{training.monitor} of the {training.monitor_answer} answer on validation",
        "seconds": round(sum(record["seconds"] for record in first), 1),
        "refit": _refit(second[0]) if second else None,
        "seed": training.seed,
    }


def _refit(records: Sequence[_Record]) -> dict[str, Any]:
    return {"epochs": len(records), "seconds": round(sum(record["seconds"] for record in records), 1)}


def _validation_from_log(subject: CardSubject, facts: DatasetFacts) -> Iterator[dict[str, Any]]:
    """The validation of the best epoch, as the log has it: its fused answer takes weights of 0, 1/2 and 1 alone."""
    for record in subject.logs[0]:
        if record["epoch"] + 1 == subject.best_epoch and "validation" in record:
            yield {
                "file": None,
                "split": "validation",
                "protocol": "full",
                "num_queries": {domain.name: domain.validation_events for domain in facts.domains},
                "answers": record["validation"],
            }


def _result(name: str, result: EvaluationResult) -> dict[str, Any]:
    summaries = {answer: result.summary(answer) for answer in result.answers}
    return {
        "file": name,
        "split": result.split,
        "protocol": result.protocol,
        "num_queries": result.num_queries,
        "answers": {answer: {"domains": s.domains, "macro": s.macro} for answer, s in summaries.items()},
    }


def _intended_use(facts: DatasetFacts) -> Iterator[str]:
    names = ", ".join(domain.name for domain in facts.domains)
    yield f"Rank the items of one named domain ({names}) for a user, from the history in all of them."
    yield "Not for items, domains or times far from the data below: train again when they change."
    yield "Not for decisions about people other than which items to show them."


def _limits(facts: DatasetFacts, config: Config) -> Iterator[str]:
    cold = ", ".join(f"{domain.name} {share(domain.cold_test, domain.test_events)}" for domain in facts.domains)
    yield f"Cold items: test targets whose item was never trained on, which it cannot find but by luck: {cold}."
    if facts.lengths:
        low, median = facts.lengths["q05"], facts.lengths["q50"]
        yield (
            f"Short histories: 5 % of the users have at most {low:g} events and half have at most {median:g}; "
            f"nothing was measured for users with fewer than {facts.lengths['min']:g}."
        )
    ties, tests = facts.ties, sum(domain.test_events for domain in facts.domains)
    if ties.tied:
        yield (
            f"Ties: {share(ties.whole_days, facts.events)} of the times are days without a time, and "
            f"{share(ties.tied_test, tests)} of the test targets have the time of the event before them, so that "
            f"{'chance' if facts.settings.get('ties') == 'shuffle' else 'the order of the input'} made one the answer "
            "and the other the history."
        )
    yield from _limits_of_method(facts, config)


def _limits_of_method(facts: DatasetFacts, config: Config) -> Iterator[str]:
    if facts.split == "leave-one-out":
        yield (
            "Time: with leave-one-out some users' training events are later than others' test events, so results are "
            "better than they would be in operation."
        )
    if len(facts.domains) > 1 and facts.users_by_num_domains[0]:
        one = share(facts.users_by_num_domains[0], facts.users)
        yield f"Transfer: {one} of the users use one domain only; other domains tell nothing about them."
    if config.training.refit != "none":
        yield "Validation results are of the first fit, test results of the second, which saw the validation events."
    yield "Results are of one training seed and of logged events; what showing the items would change was not measured."
