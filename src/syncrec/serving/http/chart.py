"""The click-through rates of an experiment's arms over its days, as shapes of an SVG picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from syncrec.experimentation.report import ArmDay

__all__ = ["HEIGHT", "LEFT", "RIGHT", "WIDTH", "ArmShape", "Chart", "ctr_chart"]

WIDTH = 560
HEIGHT = 240
LEFT = 56  # where the lines begin
RIGHT = 536  # and end
_TOP, _BOTTOM = 10, 28  # margins
_NUM_TICKS = 4
_MOST_LABELS = 8


@dataclass(frozen=True)
class ArmShape:
    """An arm: the line of its rate, and the band of its confidence sequence, as SVG `points`."""

    arm: str
    line: str
    band: str


@dataclass(frozen=True)
class Chart:
    """Shapes, and (place, text) of the marks of both axes."""

    shapes: list[ArmShape]
    rate_marks: list[tuple[float, str]]
    day_marks: list[tuple[float, str]]


def ctr_chart(days: Sequence[ArmDay]) -> Chart | None:
    """The picture of every arm's rate up to the end of each day, the band cut where it leaves the picture.

    The picture is as high as the rates and the bands of the last day need: the band of the first days is wide. Days
    without an impression have no rate and are left out; None if all are.
    """
    days = [day for day in days if math.isfinite(day.ctr.estimate)]
    if not days:
        return None
    arms = dict.fromkeys(day.arm for day in days)
    last = max(day.day for day in days)
    ends = [end for day in days if day.day == last for end in day.ctr]
    shown = [*ends, *(day.ctr.estimate for day in days)]
    low, high = min(shown), max(shown)
    room = 0.05 * (high - low) or 0.01
    low, high = max(0.0, low - room), high + room

    def x(day: int) -> float:
        return LEFT + (RIGHT - LEFT) * ((day - 1) / (last - 1) if last > 1 else 0.5)

    def y(rate: float) -> float:
        inside = min(max(rate, low), high)
        return _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - inside) / (high - low)

    def points(places: Sequence[tuple[int, float]]) -> str:
        return " ".join(f"{x(day):.1f},{y(rate):.1f}" for day, rate in places)

    shapes = []
    for arm in arms:
        own = [day for day in days if day.arm == arm]
        upper = [(day.day, day.ctr.high) for day in own]
        lower = [(day.day, day.ctr.low) for day in reversed(own)]
        line = points([(day.day, day.ctr.estimate) for day in own])
        shapes.append(ArmShape(arm, line, points([*upper, *lower])))
    rates = [low + (high - low) * step / _NUM_TICKS for step in range(_NUM_TICKS + 1)]
    step = -(-last // _MOST_LABELS)
    labels = [(x(day), str(day)) for day in range(1, last + 1, step)]
    return Chart(shapes, [(y(rate), f"{rate:.4f}") for rate in rates], labels)
