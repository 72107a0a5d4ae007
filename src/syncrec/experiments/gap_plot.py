"""The transfer gap inside the joint model against what joint training brings, as a picture."""

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from syncrec.experiments.gaps import GapPoint, correlations, means_over_seeds

if TYPE_CHECKING:
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

__all__ = ["draw_gaps"]

_LABEL_OFFSET = (6, 4)  # in points, at least


def draw_gaps(points: Sequence[GapPoint], metric: str) -> str:
    """An SVG file: a small dot for each seed, a large one with its name for the mean of each domain.

    Both axes carry the line of zero: a domain in the lower left or upper right is one whose sign the gap has right.
    Needs matplotlib (extra `report`).
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color="#999999", linewidth=0.8)
    axes.axvline(0, color="#999999", linewidth=0.8)
    labels: list[Annotation] = []
    for number, ((dataset, domain), (inside, true)) in enumerate(means_over_seeds(points).items()):
        seeds = [point for point in points if (point.dataset, point.domain) == (dataset, domain)]
        x, y = [point.inside for point in seeds], [100 * point.true for point in seeds]
        axes.scatter(x, y, s=14, alpha=0.5, color=f"C{number}", linewidths=0)
        axes.scatter(inside, 100 * true, s=60, color=f"C{number}", linewidths=0)
        place = (inside, 100 * true)
        name = axes.annotate(domain, place, _LABEL_OFFSET, textcoords="offset points", parse_math=False)
        labels.append(name)
    axes.margins(0.15)
    axes.set_xlabel("transfer gap inside the joint model, nats")
    axes.set_ylabel(f"joint cross answer against the twin, {metric.upper()}, %")
    axes.set_title(_title(points), fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.draw_without_rendering()
    _move_apart(labels)
    text = StringIO()
    with mpl.rc_context({"svg.hashsalt": "gaps", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _move_apart(labels: Sequence["Annotation"]) -> None:
    """Lift each label, from the lowest up, until it covers none that was placed before."""
    boxes: list[Bbox] = []
    for label in sorted(labels, key=lambda label: label.get_window_extent().y0):
        while any(box.overlaps(label.get_window_extent()) for box in boxes):
            x, y = label.get_position()
            label.set_position((x, y + 1))
        boxes.append(label.get_window_extent())


def _title(points: Sequence[GapPoint]) -> str:
    found = correlations(points)
    pearson, spearman = found["domains"]["pearson"], found["domains"]["spearman"]
    known = "" if pearson is None else f": Pearson {pearson:.2f}, Spearman {spearman:.2f}"
    return f"means of {found['num_domains']} domains{known}"
