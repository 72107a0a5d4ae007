"""Charts as SVG text whose colours are CSS variables, so that one file serves light and dark.

matplotlib writes the colours it is given; here these are marks that are replaced by variables of `style.css`.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NUM_COLOURS", "Mark", "forest", "lines", "shortened"]

NUM_COLOURS = 8
_INK, _GRID, _MUTED = "#000101", "#000102", "#000103"
_NAMED = {_INK: "var(--ink)", _GRID: "var(--grid)", _MUTED: "var(--muted)"}
_VERDICTS = {"gains": "#000104", "loses": "#000105", "neutral": _MUTED}
_NAMED |= {"#000104": "var(--good)", "#000105": "var(--bad)"}
_DASHES = ("-", "--", ":", "-.")
_WIDTH = 344
_POINTS_AN_INCH = 72


@dataclass(frozen=True)
class Mark:
    """An estimate with its interval: a row of a forest plot. `colour` is a number or a verdict; null ends are open."""

    label: str
    estimate: float
    low: float
    high: float
    colour: int | str


def _series(number: int) -> str:
    return f"#0002{number % NUM_COLOURS:02x}"


def _figure(height: int) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH / _POINTS_AN_INCH, height / _POINTS_AN_INCH), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.set_facecolor("none")
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(_GRID)
    axes.tick_params(colors=_MUTED, labelsize=10, length=0)
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: "Figure", description: str) -> str:
    """The figure as an SVG element without sizes of its own and without ids that nothing refers to."""
    from html import escape

    import matplotlib as mpl

    text = StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": description}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that matplotlib's font lacks are drawn by the browser
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    body = text.getvalue()
    box = re.search(r'viewBox="([^"]*)"', body)
    assert box is not None
    inner = body[body.index(">", body.index("<svg")) + 1 :]
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.DOTALL)
    inner = re.sub(r'<g id="[^"]*"', "<g", inner)
    inner = re.sub(r"font: [^;\"]*?(\d+(?:\.\d+)?)px[^;\"]*", r"font-size: \1px", inner)
    inner = re.sub(r"#000[12][0-9a-f]{2}", lambda found: _variable(found[0]), inner)
    return f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(description)}">{inner}'


def _variable(colour: str) -> str:
    return _NAMED.get(colour) or f"var(--s{int(colour[-2:], 16)})"


def shortened(text: str, length: int = 22) -> str:
    """The text, cut with an ellipsis; line breaks and other unprintable characters become spaces."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= length else plain[: length - 1] + "…"


def forest(marks: Sequence[Mark], description: str, *, is_share: bool = False, gaps: Sequence[int] = ()) -> str:
    """Estimates with intervals, one below the other; with shares a line marks 0.

    Args:
        marks: from top to bottom.
        description: what the figure shows, for those who cannot see it.
        is_share: label the axis in per cent.
        gaps: numbers of marks above which some room is left.
    """
    from matplotlib.ticker import PercentFormatter

    places = [-(number + 0.7 * sum(gap <= number for gap in gaps)) for number in range(len(marks))]
    figure, axes = _figure(40 + 19 * len(marks) + 13 * len(gaps))
    for place, mark in zip(places, marks, strict=True):
        colour = _VERDICTS[mark.colour] if isinstance(mark.colour, str) else _series(mark.colour)
        axes.plot([mark.low, mark.high], [place, place], color=colour, linewidth=2.4, solid_capstyle="round")
        axes.plot([mark.estimate], [place], "o", color=colour, markersize=6)
    if is_share:
        axes.axvline(0, color=_INK, linewidth=1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.locator_params(axis="x", nbins=4)
    axes.set_yticks(places, [shortened(mark.label) for mark in marks], color=_INK)
    for text in axes.get_yticklabels():
        text.set_parse_math(False)  # a name with two dollar signs is no formula
    axes.grid(visible=False, axis="y")
    axes.set_ylim(places[-1] - 0.6, 0.6)
    return _svg(figure, description)


def lines(
    series: Mapping[str, Sequence[float | None]],
    positions: Sequence[float],
    description: str,
    *,
    labels: Sequence[str] = (),
    zero: bool = False,
    widths: Sequence[float] = (1.8,),
) -> str:
    """Lines over common positions, the first series in the first colour; None leaves a gap.

    Args:
        series: by name; the legend is not part of the figure.
        positions: of the values, from left to right.
        description: what the figure shows, for those who cannot see it.
        labels: of the positions, instead of their numbers.
        zero: whether a line marks 0.
        widths: of the lines; the last one is that of all further ones.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(190)
    for number, values in enumerate(series.values()):
        known = [float("nan") if value is None else value for value in values]
        dash = _DASHES[number // NUM_COLOURS % len(_DASHES)]
        width = widths[min(number, len(widths) - 1)]
        axes.plot(positions, known, dash, color=_series(number), linewidth=width, marker="o", markersize=width + 2)
    if zero:
        axes.axhline(0, color=_INK, linewidth=0.8)
    axes.margins(y=0.08)
    axes.locator_params(axis="y", nbins=5)
    axes.ticklabel_format(axis="y", useOffset=False)
    if labels:
        axes.set_xticks(positions, labels)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return _svg(figure, description)
