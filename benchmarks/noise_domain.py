"""What a domain of pure noise costs the others: the same test targets with and without it.

    syncrec simulate --noise-into ../shared/data/amazon_four_domains.csv.gz --out noisy/four_noisy.csv.gz
    syncrec benchmark configs/noise_domain.toml --out noise --workers 2
    python benchmarks/noise_domain.py noise

prints, for each model of the plan, NDCG@10 of the fused answer (or the only one) on the log without and with noise,
and the paired difference over all seeds with its 95 % interval, and the correction weight of the noise domain in the
first and in the last epoch, where it has one: a domain that reads itself alone has none.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from paired_change import change_cells
from syncrec.evaluation import EvaluationResult, load_result, metric_values
from syncrec.evaluation.groups import choose_answer
from syncrec.evaluation.metrics import MACRO
from syncrec.training.tracking import read_log

METRIC = "ndcg@10"


def values_by_query(result: EvaluationResult) -> dict[tuple[str, str], float]:
    """The metric of each test query, by domain and user."""
    values = metric_values(METRIC, result.answers[choose_answer(result)].ranks)
    domains = (result.domains[number] for number in result.query_domains.tolist())
    keys = list(zip(domains, result.users, strict=True))
    if len(set(keys)) < len(keys):
        raise SystemExit("a user is asked twice in a domain, so the queries of two logs cannot be paired")
    return dict(zip(keys, values.tolist(), strict=True))


def runs_of(experiment: Path, dataset: str, model: str) -> dict[str, Path]:
    """The finished runs of a model on a dataset, by seed."""
    found = sorted((experiment / "runs" / dataset / model).glob("seed-*/results/test-full.json"))
    return {path.parts[-3]: path.parents[1] for path in found}


def rows(experiment: Path, model: str, clean: str, noisy: str) -> Iterator[str]:
    """Lines of a Markdown table."""
    before, after = (runs_of(experiment, dataset, model) for dataset in (clean, noisy))
    seeds = sorted(before.keys() & after.keys())
    if not seeds:
        return
    pairs = [
        [values_by_query(load_result(runs[seed] / "results" / "test-full.json")) for seed in seeds]
        for runs in (before, after)
    ]
    keys = sorted(set.intersection(*({*values} for side in pairs for values in side)))
    without, with_noise = (np.array([[values[key] for key in keys] for values in side]) for side in pairs)
    domains = np.array([domain for domain, _ in keys])
    users = np.unique([user for _, user in keys], return_inverse=True)[1]
    for domain in [*dict.fromkeys(domains.tolist()), MACRO]:
        mask = np.ones(len(keys), dtype=bool) if domain == MACRO else domains == domain
        strata = np.unique(domains[mask], return_inverse=True)[1]
        cells = change_cells(without[:, mask], with_noise[:, mask], users[mask], strata)
        yield f"| {model} | {len(seeds)} | {domain} | {cells} |"


def weights(experiment: Path, model: str, noisy: str, noise: str) -> Iterator[str]:
    """The noise domain's weight (M10) in the first and the last epoch of each run."""
    for seed, run in runs_of(experiment, noisy, model).items():
        epochs = [epoch for epoch in read_log(run / "log.jsonl") if "single" in epoch.get("loss", {})]
        found = [epoch["weight"][noise] for epoch in epochs]
        if not epochs:
            yield f"{model} {seed}: one answer, so no weights"
        elif not any(found):
            yield f"{model} {seed}: {noise} has no weight, for it reads itself alone"
        else:
            yield f"{model} {seed}: weight of {noise} {found[0]:.2f} at first, {found[-1]:.2f} at last"


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path, help="folder of `syncrec benchmark`")
    parser.add_argument("--clean", default="four_domains", help="dataset without noise")
    parser.add_argument("--noisy", default="four_noisy", help="the same with it")
    parser.add_argument("--noise", default="noise", help="name of the domain of noise")
    options = parser.parse_args()
    models = sorted(path.name for path in (options.experiment / "runs" / options.noisy).iterdir())
    print("| model | seeds | domain | without noise | with noise | change | 95 % interval |")
    print("| :-- | --: | :-- | --: | --: | --: | --: |")
    for model in models:
        for line in rows(options.experiment, model, options.clean, options.noisy):
            print(line)
    print()
    for model in models:
        for line in weights(options.experiment, model, options.noisy, options.noise):
            print(line)


if __name__ == "__main__":
    main()
