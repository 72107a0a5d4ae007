import re
from xml.etree import ElementTree

from syncrec.reports.html.charts import _training_figures
from syncrec.reports.html.figures import Mark, forest, lines, shortened

HOSTILE = '<script>"&$x^$\x07'


def parsed(svg):
    return ElementTree.fromstring(svg.replace("xlink:href", "href"))


def test_a_forest_plot_is_a_described_image_with_every_label():
    svg = forest([Mark("Food", 0.1, 0.05, 0.2, "gains"), Mark(HOSTILE, -0.1, -0.2, 0.1, 2)], 'a "b" <c>', is_share=True)
    root = parsed(svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", 'a "b" <c>')
    texts = [element.text for element in root.iter("text")]
    assert "Food" in texts
    assert '<script>"&$x^$ ' in texts
    assert any("%" in text for text in texts if text)


def test_colours_are_variables_and_nothing_else():
    svg = forest([Mark("a", 0, -1, 1, "loses"), Mark("b", 0, -1, 1, 9)], "f") + lines(
        {"a": [1, None, 2]}, [1, 2, 3], "l"
    )
    assert {"var(--bad)", "var(--s1)", "var(--s0)", "var(--ink)", "var(--grid)"} <= set(
        re.findall(r"var\([^)]*\)", svg)
    )
    assert re.findall(r"#[0-9a-f]{6}", svg) == []


def test_a_gap_in_a_line_is_left_open():
    whole, broken = (lines({"a": values}, [1, 2, 3, 4], "l") for values in ([1, 2, 3, 4], [1, 2, None, 4]))
    assert len(broken) < len(whole)


def test_long_names_are_cut():
    assert shortened("x" * 30) == "x" * 21 + "…"


def test_a_domain_that_reads_itself_alone_has_no_line_of_gaps_and_weights():
    epochs = [
        {
            "epoch": epoch,
            "loss": {"cross": {"A": 2.0, "B": 1.0}, "single": {"A": 2.5, "B": 1.0}},
            "transfer_gap": {"A": 0.5 + epoch, "B": 0.0},
            "weight": {"A": 1.0 + epoch, "B": 0.0},
        }
        for epoch in range(3)
    ]
    figures = _training_figures(epochs, ["A", "B"])
    drawn = [len(re.findall(r'd="M [^"]+"[^>]*fill: none; stroke: var\(--s1\)', s)) for _, s in figures]
    assert drawn == [1, 1, 0, 0]
