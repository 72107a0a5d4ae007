"""Where in an experiment's directory everything lies."""

from dataclasses import dataclass
from pathlib import Path

from syncrec.experiments.plan import Cell

__all__ = ["Places"]


@dataclass(frozen=True)
class Places:
    """The paths below the directory `out`.

    | place | what |
    |---|---|
    | `datasets/NAME`, `datasets/NAME.sources.json` | datasets prepared from raw logs; checksums of these |
    | `tuning/DATASET/LABEL/` | `question.json`, `trial-N` (a run, or `.json`), `chosen.json`; what `search.py` keeps |
    | `configs/DATASET/LABEL-seed-N.toml` | the effective settings of each run |
    | `runs/DATASET/LABEL/seed-N` | the runs; their `results` folders hold the result files |
    | `baselines/DATASET/LABEL` | models without a run: their `results` folders alone |
    | `logs/DATASET/LABEL/` | what the processes of a run, a trial or a baseline printed |
    """

    out: Path

    def dataset(self, name: str) -> Path:
        """A dataset prepared from a log of the plan."""
        return self.out / "datasets" / name

    def sources(self, name: str) -> Path:
        """The checksums of the files it was prepared of."""
        return self.out / "datasets" / f"{name}.sources.json"

    def run(self, cell: Cell) -> Path:
        """The run of a cell."""
        return self.out / "runs" / cell.dataset / cell.label / f"seed-{cell.seed}"

    def config(self, cell: Cell) -> Path:
        """The settings it is trained with."""
        return self.out / "configs" / cell.dataset / f"{cell.label}-seed-{cell.seed}.toml"

    def tuning(self, dataset: str, label: str) -> Path:
        """The search of a row."""
        return self.out / "tuning" / dataset / label

    def trial(self, dataset: str, label: str, number: int) -> Path:
        """The run of one of its trials."""
        return self.tuning(dataset, label) / f"trial-{number:03d}"

    def baseline(self, dataset: str, label: str) -> Path:
        """A model without a run: its `results` folder."""
        return self.out / "baselines" / dataset / label

    def log(self, dataset: str, label: str, name: str) -> Path:
        """What the processes of a row's job printed: `seed-N`, `trial-N`, or `baseline`, which is made once."""
        return self.out / "logs" / dataset / label / f"{name}.txt"
