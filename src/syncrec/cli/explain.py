"""The command `explain`."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

__all__ = ["explain"]

_MOST_EVENTS = 10


def explain(
    run: Annotated[Path, Parameter(help="a trained run")],
    /,
    *,
    user: Annotated[str, Parameter(help="a user of the dataset")],
    domain: Annotated[str, Parameter(help="the service to recommend in")],
    k: Annotated[int, Parameter(name=["-k", "--top"], help="how many items")] = 10,
    items: Annotated[Path | None, Parameter(help="CSV of item titles: item,title[,domain]")] = None,
    dataset: Annotated[Path | None, Parameter(help="the dataset, if it was moved")] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="print JSON: every event, every answer")] = False,
) -> None:
    """What a user is recommended by every answer of a model, and which past events matter for it."""
    from syncrec.data.titles import read_titles
    from syncrec.pipeline import open_run
    from syncrec.transfer_report import explain as explain_user

    titles = None if items is None else read_titles(items)
    found = explain_user(open_run(run, dataset), user, domain, k, titles)
    if as_json:
        print(json.dumps(found))
        return
    _print_items(found)
    _print_events(found)


def _print_items(found: dict[str, Any]) -> None:
    print(f"recommended to {found['user']} in {found['domain']} ({found['main']} answer), because of:")
    for entry in found["answers"][found["main"]]:
        events = [found["history"][reason["event"]] for reason in entry["because"]]
        reasons = ", ".join(f"{_name(event)} ({event['domain']})" for event in events) or "no event in particular"
        print(f"{entry['rank']:4d}  {_name(entry):24}  {reasons}")


def _print_events(found: dict[str, Any]) -> None:
    ordered = sorted(found["history"], key=lambda event: -abs(event["effect"]))
    print(f"past events that matter most ({min(_MOST_EVENTS, len(ordered))} of {len(ordered)}); without one, the items")
    print("above become less (-) or more (+) likely by:")
    for event in ordered[:_MOST_EVENTS]:
        print(f"{100 * math.expm1(-event['effect']):+7.1f} %  {_name(event)} ({event['domain']})")


def _name(entry: dict[str, Any]) -> str:
    """The title, or the id, as one line."""
    text = entry["title"] or entry["item"]
    return "".join(letter if letter.isprintable() else " " for letter in text)
