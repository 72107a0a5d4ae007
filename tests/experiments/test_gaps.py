import json
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import pytest

from syncrec.evaluation import load_result
from syncrec.experiments.gap_plot import draw_gaps
from syncrec.experiments.gaps import GapPoint, correlations, gap_points, gap_table
from syncrec.experiments.summary import write_summary


def points_of(*pairs):
    return [GapPoint("log", seed, str(n), x, y) for n, (x, y) in enumerate(pairs) for seed in (0, 1)]


def test_a_gap_that_follows_the_truth_correlates_and_one_that_opposes_it_does_not():
    follows = correlations(points_of((0.1, 0.05), (0.2, 0.1), (-0.1, -0.05)))
    assert follows["domains"]["pearson"] == pytest.approx(1.0)
    assert (follows["points"], follows["domains"]["spearman"], follows["agree_in_sign"]) == (6, 1.0, 1.0)
    opposes = correlations(points_of((0.1, -0.05), (0.2, -0.1), (-0.1, 0.05)))
    assert (opposes["domains"]["spearman"], opposes["agree_in_sign"]) == (-1.0, 0.0)


def test_two_domains_say_nothing_of_a_correlation():
    assert correlations(points_of((0.1, 0.05), (0.2, 0.1)))["domains"]["pearson"] is None
    assert correlations([])["agree_in_sign"] is None


def test_a_domain_that_reads_no_other_has_no_gap_whose_sign_could_be_wrong():
    found = correlations(points_of((0.1, 0.05), (0.0, -0.02), (0.2, -0.1), (0.0, 0.03)))
    assert found["agree_in_sign"] == 0.5
    assert correlations(points_of((0.0, -0.02)))["agree_in_sign"] is None


def test_a_domain_that_reads_no_other_has_no_part_in_correlations():
    real = points_of((0.1, 0.05), (0.2, 0.1), (-0.1, -0.05))
    lone = [GapPoint("log", seed, "lone", 0.0, 0.4) for seed in (0, 1)]
    assert correlations([*lone, *real]) == correlations(real)
    assert "means of 3 domains: Pearson 1.00" in draw_gaps([*lone, *real], "mrr")


def test_a_line_is_the_mean_over_seeds():
    points = [GapPoint("log", 0, "books", 0.1, 0.02), GapPoint("log", 1, "books", 0.3, 0.04)]
    assert gap_table(points, "mrr").groups == ((("log", "books", "+0.200", "+3.0 %"),),)


def test_the_picture_has_a_large_dot_and_a_name_for_each_domain_and_a_small_dot_for_each_seed():
    points = [replace(p, domain=f"<b>$x_{p.domain}$") for p in points_of((0.1, 0.05), (0.2, 0.1), (-0.1, -0.05))]
    tree = ElementTree.fromstring(draw_gaps(points, "ndcg@10"))
    text = " ".join("".join(part.itertext()) for part in tree.iter("{http://www.w3.org/2000/svg}text"))
    assert all(f"<b>$x_{n}$" in text for n in range(3))
    assert "means of 3 domains: Pearson 1.00, Spearman 1.00" in text
    dots = [group for group in tree.iter() if group.get("id", "").startswith("PathCollection")]
    assert [len(list(group.iter("{http://www.w3.org/2000/svg}use"))) for group in dots] == [2, 1] * 3


def test_names_of_domains_at_one_place_stand_apart():
    points = [GapPoint("log", 0, domain, 0.0, 0.01) for domain in ("maps", "calls", "books")]
    texts = ElementTree.fromstring(draw_gaps(points, "ndcg@10")).iter("{http://www.w3.org/2000/svg}text")
    heights = [float(text.get("y")) for text in texts if text.text in {"maps", "calls", "books"}]
    assert len(heights) == 3
    assert min(abs(a - b) for a, b in combinations(heights, 2)) > 8


def test_points_are_what_log_and_result_files_say(experiment, tmp_path):
    points = gap_points(experiment, "full")
    assert len(points) == 2 * 3  # seeds, domains
    content = write_summary(experiment, tmp_path / "results.md")
    assert content["gaps"]["correlations"]["points"] == 6
    text = (tmp_path / "results.md").read_text()
    assert "transfer gap inside the joint model" in text
    assert "Correlation over the means of domains: Pearson" in text
    assert "(results-gap.svg)" in text
    assert (tmp_path / "results-gap.svg").read_text().lstrip().startswith("<?xml")
    runs = experiment.out / "runs/small"
    for point in points:
        joint, alone = (
            load_result(runs / f"{label}/seed-{point.seed}/results/test-full.json").summary("cross").domains
            for label in ("syncrec", "alone")
        )
        metric = experiment.plan.metric
        assert point.true == joint[point.domain][metric] / alone[point.domain][metric] - 1
        last = (runs / f"syncrec/seed-{point.seed}/log.jsonl").read_text().splitlines()[-1]
        assert point.inside == json.loads(last)["transfer_gap"][point.domain]
