"""A small trained run, for timing how long the command line takes to answer.

    python benchmarks/start.py DIRECTORY

Leaves `dataset` and `run` there: 400 users of the simulated log, one epoch.
"""

import sys
from pathlib import Path

import syncrec
from syncrec.data.simulation import simulate_log


def main() -> None:
    place = Path(sys.argv[1])
    log = place / "log.csv.gz"
    simulate_log(log, num_users=400)
    syncrec.prepare(log, out=place / "dataset")
    syncrec.train(place / "dataset", place / "run", settings=["training.epochs=1", "model.dim=16"], show_progress=False)


if __name__ == "__main__":
    main()
