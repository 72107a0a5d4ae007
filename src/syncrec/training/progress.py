"""The progress display of training: a bar on a terminal, nothing elsewhere unless lines are asked for."""

import sys
from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["ProgressStyle", "TrainingProgress"]

ProgressStyle = bool | Literal["lines"]

_WIDE_FROM = 125
_STATE = "{task.description} {task.percentage:3.0f}% {task.fields[losses]}"


class TrainingProgress:
    """Epoch, loss parts, targets per second, validation metric and time left, on stderr.

    A narrow terminal has no room for the bar and the speed. Where stderr is no terminal it is quiet, or with `lines`
    writes a line an epoch; with False it is quiet everywhere.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, style: ProgressStyle = True) -> None:
        console = Console(stderr=True)
        self._epochs = epochs
        self._best = "-"
        self._is_narrow = console.width < _WIDE_FROM
        self._prints_lines = style == "lines" and not console.is_terminal
        self._bar = Progress(
            *_columns(self._is_narrow),
            console=console,
            disable=not (style and console.is_terminal),
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("", total=epochs * steps_per_epoch, losses="", speed="", best=self._best)

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self, epoch: int, steps_done: int, losses: Mapping[str, float], targets_per_second: float) -> None:
        """Show the state after a step; `steps_done` counts through all epochs."""
        self._bar.update(
            self._task,
            completed=steps_done,
            description=f"epoch {epoch + 1}/{self._epochs}",
            losses=" ".join(f"{name} {value:.2f}" for name, value in losses.items()),
            speed=f"{targets_per_second:,.0f} targets/s",
        )

    def validated(self, record: Mapping[str, Any], monitor: str) -> None:
        """Show the end of an epoch: the best validation metric so far, if there was a validation."""
        best = record["best"]
        if best["value"] is not None:
            self._best = f"{monitor} {best['value']:.4f} (epoch {best['epoch'] + 1})"
        self._bar.update(self._task, best=self._best.replace("epoch ", "") if self._is_narrow else self._best)
        if self._prints_lines:
            seconds = f"{record['seconds']:.1f} s, {record['targets_per_second']:,.0f} targets/s"
            shown = f"loss {record['loss']['total']:.2f}, best {self._best}, {seconds}"
            print(f"epoch {record['epoch'] + 1}/{self._epochs}: {shown}", file=sys.stderr, flush=True)


def _columns(is_narrow: bool) -> tuple[ProgressColumn, ...]:
    best, left = TextColumn("best {task.fields[best]}"), (TimeRemainingColumn(), TextColumn("left"))
    if is_narrow:
        return TextColumn(_STATE), best, *left
    return TextColumn(_STATE), BarColumn(24), TextColumn("{task.fields[speed]}"), best, TimeElapsedColumn(), *left
