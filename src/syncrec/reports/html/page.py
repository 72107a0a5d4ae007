"""From the content of a transfer report to its page. Takes plain values and gives text; every value is escaped."""

import importlib.util
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncrec.answers import main_answer
from syncrec.errors import MissingCapabilityError
from syncrec.evaluation.metrics import MACRO
from syncrec.reports.html import charts
from syncrec.reports.verdict import per_cent

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["check_renderer", "render_page"]

_PACKAGES = ("jinja2", "matplotlib")
_TEMPLATES = Path(__file__).with_name("templates")
_NO_VALUE = "–"


def check_renderer() -> None:
    """Make sure that the packages that make a page are installed.

    Raises:
        MissingCapabilityError: one is not; the text says how to get it.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingCapabilityError(
            f"a report needs the package{'s' if len(missing) > 1 else ''} {' and '.join(missing)}; "
            "pip install 'syncrec[report]'"
        )


def render_page(content: Mapping[str, Any]) -> str:
    """The page as one HTML text that loads nothing from elsewhere and runs no script.

    Args:
        content: what `transfer_report.report_content` gives.
    """
    environment = _environment()
    domains = content["data"]["domains"]
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        **content,
        style=style,
        domain_list=domains,
        macro=MACRO,
        figures=charts.all_figures(content),
        least=charts.LEAST_QUERIES,
    )


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number,
        count=lambda value: f"{value:,}",
        percent=lambda value: _NO_VALUE if value is None else _words(per_cent(value)),
        change=lambda value: _NO_VALUE if value is None else _words(per_cent(value, signed=True)),
        range=_range,
        sizes=_sizes,
        size=lambda value: f"{value / 1e6:,.1f} MB",
        day=lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d"),
        words=_words,
        p=lambda value: "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0"),
        strength=_strength,
        main_answer=main_answer,
    )
    return environment


def _words(sentence: str, name: str = "") -> str:
    """A sentence that begins with `name`, with true minus signs and unbreakable numbers behind it."""
    start, rest = sentence[: len(name)], sentence[len(name) :]
    return start + re.sub(r"(?<!\w)-(?=\d)", "−", rest).replace(" %", "\N{NO-BREAK SPACE}%")


def _number(value: float | None, digits: int = 4) -> str:
    return _NO_VALUE if value is None else f"{value:,.{digits}f}"


def _range(interval: Mapping[str, float | None]) -> str:
    """An interval of shares in per cent, `-3.1 to +4.0 %`."""
    low, high = interval["low"], interval["high"]
    if low is None or high is None:
        return _NO_VALUE
    return _words(f"{per_cent(low, signed=True, unit=False)} to {per_cent(high, signed=True)}")


def _sizes(interval: Mapping[str, float | None]) -> str:
    """An interval on one side of 0 without its sign, `3.1 to 4.0 %`."""
    low, high = sorted(abs(interval[end] or 0.0) for end in ("low", "high"))
    return _words(f"{per_cent(low, unit=False)} to {per_cent(high)}")


def _strength(value: float | None, full: float = 1.0) -> int:
    """How strongly a cell of a heat map is coloured, 0..100; `full` is the size that gets 100."""
    if value is None or not math.isfinite(value):
        return 0
    return round(100 * min(1.0, abs(value) / full)) if full else 0
