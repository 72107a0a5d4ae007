"""The runs that are served, by name; each can be replaced while it answers.

Several worker processes share a folder with the file `runs.json`: the worker that was asked to replace a run checks the
new one, switches, and writes there where it is; the others see the file change and do the same.
"""

import gc
from collections.abc import Callable, Mapping
from pathlib import Path

from syncrec import artifacts
from syncrec.errors import SyncrecError, UnknownRunError
from syncrec.serving.live import LiveModel

__all__ = ["Loader", "ModelRegistry"]

Loader = Callable[[str, Path], LiveModel]
_STATE_NAME = "runs.json"


class ModelRegistry:
    """Opened runs; `load` opens one, and `state` is the folder that the workers share."""

    def __init__(self, runs: Mapping[str, Path], load: Loader, state: Path) -> None:
        self._load, self._state = load, state
        self._generation = 0
        self._models = {name: self.opened(name, path) for name, path in self._published(runs).items()}

    def opened(self, name: str, path: Path) -> LiveModel:
        """The run in `path`, opened and probed; nothing is switched.

        Raises:
            SyncrecError: it cannot be served.
        """
        live = self._load(name, path)
        live.probe()
        gc.freeze()  # what stays is not searched for garbage: that would stop every answer for a fifth of a second
        return live

    def get(self, name: str) -> LiveModel:
        """The run of this name.

        Raises:
            UnknownRunError: there is none, with the nearest names.
        """
        found = self._models.get(name)
        if found is None:
            raise UnknownRunError("run", name, self._models, f"served are {', '.join(self._models)}")
        return found

    def all(self) -> list[LiveModel]:
        """The served runs, in the order they were named in."""
        return list(self._models.values())

    def switch(self, live: LiveModel) -> LiveModel:
        """Let `live` answer for its name from now on; gives what answered before, which finishes what it has begun."""
        before = self._models[live.name]
        self._models = {**self._models, live.name: live}
        return before

    def publish(self) -> None:
        """Tell the other workers which runs are served now; `follow` first, and let nobody publish in between."""
        self._generation += 1
        runs = {name: str(live.path) for name, live in self._models.items()}
        artifacts.write_json(self._state / _STATE_NAME, {"generation": self._generation, "runs": runs})

    def follow(self) -> list[str]:
        """Switch to what another worker published since; gives the faults of runs that cannot be served here."""
        faults = []
        for name, path in self._published({}).items():
            if self._models[name].path == path:
                continue
            try:
                self.switch(self.opened(name, path))
            except SyncrecError as error:
                faults.append(str(error))
        return faults

    def _published(self, otherwise: Mapping[str, Path]) -> Mapping[str, Path]:
        """What was published and is new, else what is given."""
        if not (self._state / _STATE_NAME).exists():
            return otherwise
        state = artifacts.read_json(self._state / _STATE_NAME, "the runs that are served")
        if state["generation"] == self._generation:
            return otherwise
        self._generation = state["generation"]
        return {name: Path(path) for name, path in state["runs"].items()}
