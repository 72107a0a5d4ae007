"""Ctrl-C and SIGTERM ask the loop to stop at the next step, so that it can save first."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["StopRequest"]


class StopRequest:
    """Context in which the first SIGINT or SIGTERM sets `is_set`; a second one has its usual effect.

    One of several processes takes all of them: it may be told twice, by its launcher too, and stops with the others.

    Outside the main thread signals cannot be caught; there it does nothing.
    """

    def __init__(self, *, takes_one: bool = True) -> None:
        self.is_set = False
        self._takes_one = takes_one
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._handle)
            except ValueError:
                break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.is_set = True
        if self._takes_one:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
