"""How long does the gain of a joint model last? Its difference to the twin by the time since the end of training.

    syncrec benchmark configs/no_domain_loses_recent.toml --out recent --workers 2
    python benchmarks/gain_by_age.py recent

For a plan whose dataset is cut in time (`split = "temporal"`): NDCG@10 of the fused answer (or the only one), full
ranking, of the test targets of so many weeks after the last event that was trained on, and the paired difference over
all seeds with its 95 % interval, over users and seeds. *known* is the share of targets whose item has training events.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from paired_change import change_cells
from syncrec.analysis.strata import WEEKS, weeks_after_training
from syncrec.data.dataset import Dataset
from syncrec.evaluation import EvaluationResult, load_result, metric_values
from syncrec.evaluation.groups import choose_answer
from syncrec.evaluation.metrics import MACRO

METRIC = "ndcg@10"
EDGES = (0, *WEEKS, 1_000)


def results_of(experiment: Path, dataset: str, model: str) -> dict[str, EvaluationResult]:
    """The test results of a model, by seed."""
    found = sorted((experiment / "runs" / dataset / model).glob("seed-*/results/test-full.json"))
    return {path.parts[-3]: load_result(path) for path in found}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path, help="folder of `syncrec benchmark`")
    parser.add_argument("--dataset", default="four_domains", help="its name in the plan, prepared from a log")
    parser.add_argument("--model", default="syncrec", help="row of the joint model")
    parser.add_argument("--twin", default="sasrec-single", help="row it is compared with")
    options = parser.parse_args()
    data = Dataset(options.experiment / "datasets" / options.dataset)
    if data.manifest["settings"]["split"] != "temporal":
        raise SystemExit(f"{data.path}: is not cut in time; only there has a model one age")
    joint, twin = (results_of(options.experiment, options.dataset, name) for name in (options.model, options.twin))
    if not (seeds := sorted(joint.keys() & twin.keys())):
        raise SystemExit(f"{options.experiment}: no seed of which both {options.model} and {options.twin} are finished")
    is_refitted = joint[seeds[0]].provenance.config["training"]["refit"] == "validation"
    ends = np.asarray(data.validation_end if is_refitted else data.train_end)
    queries = data.queries("test")
    weeks = weeks_after_training(data, queries, ends)
    is_known = data.counts_before(ends)[queries.targets] > 0
    values = [
        np.array([metric_values(METRIC, found[seed].answers[choose_answer(found[seed])].ranks) for seed in seeds])
        for found in (joint, twin)
    ]
    print(f"{len(seeds)} seeds\n")
    columns = (
        "weeks after training",
        "domain",
        "targets",
        "known",
        options.twin,
        options.model,
        "change",
        "95 % interval",
    )
    print(f"| {' | '.join(columns)} |")
    print("| --: | :-- | --: | --: | --: | --: | --: | --: |")
    for low, high in pairwise(EDGES):
        for number, domain in [*enumerate(data.domains), (None, MACRO)]:
            mask = (weeks > low) & (weeks <= high) if low else weeks <= high
            if number is not None:
                mask = mask & (queries.domains == number)
            if not mask.any():
                continue
            strata = queries.domains[mask]
            known = np.mean([is_known[mask][strata == s].mean() for s in np.unique(strata)])
            age = f"{low} to {high if high < EDGES[-1] else 'the end'}"
            cells = change_cells(values[1][:, mask], values[0][:, mask], queries.users[mask], strata)
            print(f"| {age} | {domain} | {mask.sum():,} | {known:.0%} | {cells} |")


if __name__ == "__main__":
    main()
