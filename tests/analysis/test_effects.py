import numpy as np
import pytest

from syncrec.analysis.effects import effect_content, with_corrected_verdicts

USERS = np.arange(200)


def cell(source, without, full, target="a"):
    return {"target": target, "source": source, **effect_content(without, full, USERS)}


def test_helps_and_harms_are_seen_from_the_source():
    noise = np.random.default_rng(0).random(200)
    cells = with_corrected_verdicts(
        [cell("b", noise, noise + 0.5), cell("c", noise + 0.5, noise), cell("d", noise, noise[::-1].copy())]
    )
    assert [c["verdict"] for c in cells] == ["helps", "harms", "neutral"]
    assert cells[0]["relative"]["estimate"] == pytest.approx(-0.5 / (noise.mean() + 0.5))


def test_p_values_are_corrected_over_pairs_of_different_domains_alone():
    values = np.random.default_rng(1).random((2, 200))
    raw = [cell("b", *values), cell("c", *values), cell("a", *values)]
    corrected = with_corrected_verdicts(raw)
    assert corrected[0]["p_value"] == pytest.approx(min(1.0, 2 * raw[0]["p_value"]))
    assert corrected[2]["p_value"] == raw[2]["p_value"]


def test_a_share_of_nothing_is_null():
    assert cell("b", np.ones(200), np.zeros(200))["relative"]["estimate"] is None
