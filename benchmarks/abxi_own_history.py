"""What ABXI loses where it is asked as its authors' evaluation asks it, by runs of the row `abxi-as-published`.

    syncrec benchmark configs/benchmark_abxi.toml --out experiment --workers 2
    python benchmarks/abxi_own_history.py experiment/runs/beauty_electronics/abxi-as-published/seed-*

In training each target is answered after the history of its own domain. In the evaluation of two published versions
of the authors' code (github.com/DiMarzioBian/ABXI, trainer.py) every event keeps its place in the mixed sequence and
the answer is read at the last place, so that the own history is not read if the last event is of another domain
("in place"); in the older of the two the first domain's own history is the whole mixed sequence besides ("older").
Prints means and standard deviations over the runs of MRR and HR@10, test split, protocol sampled-999, by domain.
"""

import argparse
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from syncrec.evaluation import metric_values
from syncrec.evaluation.negatives import rivals_of
from syncrec.evaluation.protocols import find_protocol
from syncrec.models.abxi import ABXI
from syncrec.models.batch import TensorBatch
from syncrec.models.interface import AnswerName
from syncrec.ranker import make_ranker
from syncrec.runs import RunDirectory

Reads = Literal["always", "in place", "older"]
METRICS = ("mrr", "hr@10")


class AskedInPlace(ABXI):
    """ABXI that reads a history of the target's domain as `reads` says."""

    reads: Reads = "always"

    def _encode(self, batch: TensorBatch) -> dict[AnswerName, Tensor]:
        mixed = self._represent(batch.cross, batch.cross_slots, batch.only_asked, is_cross=True)
        slots = batch.single_slots
        if self.reads != "always":  # the start token of the own history has read none of it
            is_other = batch.cross.domains.flatten()[batch.cross_slots] != batch.domains
            slots = torch.where(is_other, slots - batch.single.positions.flatten()[slots], slots)
        own = self._represent(batch.single, slots, batch.only_asked, is_cross=False)
        if self.reads == "older":
            first = torch.zeros_like(batch.cross.domains)
            whole = self.encoder(self.embed(batch.cross), batch.cross.mask, first, batch.cross_slots)
            own = torch.where((batch.domains == 0)[:, None], whole, own)
        return {"cross": self._invariant(mixed, batch) + self.domain_projectors(own, batch.domain_counts)}


def values_of(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Domains, and each metric of each way to read in each of them [reads, metrics, domains]."""
    run = RunDirectory.open(path)
    trained, dataset = run.trained_model(torch.device("cpu")).model, run.dataset()
    if not isinstance(trained, ABXI):
        raise SystemExit(f"{path}: is a run of {trained.config.name}, not of abxi")
    model = AskedInPlace(trained.catalogue, trained.config).eval()
    model.load_state_dict(trained.state_dict())
    queries = dataset.queries("test")
    found = []
    for reads in get_args(Reads):
        model.reads = reads
        answers, _ = make_ranker(model, dataset, queries).ranks(
            None, rivals_of(find_protocol("sampled-999"), 0, "test")
        )
        values = [metric_values(metric, answers["cross"].ranks) for metric in METRICS]
        found.append([[v[queries.domains == d].mean() for d in range(dataset.num_domains)] for v in values])
    return dataset.domains, np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories of model abxi, of one dataset")
    torch.set_num_threads(1)
    by_run = [values_of(path) for path in parser.parse_args().runs]
    if len({domains for domains, _ in by_run}) > 1:
        raise SystemExit("the runs are of different datasets, whose numbers have no common mean; give those of one")
    domains, values = by_run[0][0], np.array([found for _, found in by_run])
    print(f"| own history is read | metric | {' | '.join(domains)} |")
    print("| :-- | :-- |" + " --: |" * len(domains))
    deviations = values.std(0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)
    for number, reads in enumerate(get_args(Reads)):
        for metric, means, spread in zip(METRICS, values.mean(0)[number], deviations[number], strict=True):
            cells = (f"{m:.4f} ± {s:.4f}" for m, s in zip(means, spread, strict=True))
            print(f"| {reads} | {metric} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
