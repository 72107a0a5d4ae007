"""The progress display of training: a bar on a terminal, nothing elsewhere."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["TrainingProgress"]


class TrainingProgress:
    """Epoch, loss parts, targets per second, validation metric and time left.

    Shown on stderr if that is a terminal and `enabled`; all methods are harmless otherwise.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, *, enabled: bool = True) -> None:
        console = Console(stderr=True)
        self._epochs = epochs
        self._best = "-"
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[losses]}"),
            TextColumn("{task.fields[speed]}"),
            TextColumn("best {task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not (enabled and console.is_terminal),
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
            losses=" ".join(f"{name} {value:.3f}" for name, value in losses.items()),
            speed=f"{targets_per_second:,.0f} targets/s",
        )

    def validated(self, record: Mapping[str, Any], monitor: str) -> None:
        """Show the best validation metric so far, if there was a validation."""
        best = record["best"]
        if best["value"] is not None:
            self._best = f"{monitor} {best['value']:.4f} (epoch {best['epoch'] + 1})"
        self._bar.update(self._task, best=self._best)
