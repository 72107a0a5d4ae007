"""The page of a real run, whose names are HTML: what it says, that nothing gets out of its place, how it looks."""

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

import syncrec
from jobs import HOSTILE_DOMAINS, TINY, real_log
from syncrec.reports.html.page import render_page
from syncrec.transfer_report import ReportOptions, write_report

CHROMIUM = Path("/usr/bin/chromium")
SECTIONS = ["verdict", "data", "training", "accuracy", "transfer", "users"]


@pytest.fixture(scope="module")
def content_and_page(hostile_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    items = folder / "items.csv"
    titles = "".join(
        f'</td><b>{letter}{n},"</style><script>alert(3)</script> {n}"\n' for letter in "bft" for n in range(30)
    )
    items.write_text("item,title\n" + titles, encoding="utf-8")
    content = write_report([hostile_run], folder / "report.html", ReportOptions(num_users=3, items=items))
    return content, folder / "report.html"


@pytest.fixture(scope="module")
def text(content_and_page):
    return content_and_page[1].read_text(encoding="utf-8")


class Cells(HTMLParser):
    """Rows of text of every table, the attributes of every start tag, and tags that were left open."""

    EMPTY = ("meta", "link", "br", "path", "use", "rect")

    def __init__(self, page):
        super().__init__()
        self.tables, self.tags, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)
        if tag == "table":
            self.tables.append((dict(attrs), []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and {"td", "th"} & set(self.open):
            self.tables[-1][1][-1][-1] += data


@pytest.fixture(scope="module")
def cells(text):
    return Cells(text)


class TestContent:
    def test_every_section_is_there_in_order(self, cells):
        assert [attrs["id"] for tag, attrs in cells.tags if tag == "section"] == SECTIONS
        assert cells.open == []

    def test_accuracy_is_that_of_the_result_file(self, hostile_run, cells):
        result = json.loads((hostile_run.path / "results" / "test-full.json").read_text(encoding="utf-8"))
        (rows,) = (rows for attrs, rows in cells.tables if attrs.get("id") == "accuracy-table")
        shown, domain = {}, ""
        for row in rows[1:]:
            if len(row) == 6:
                domain = re.sub(r"[\d,]+ queries$", "", row[0])
            shown[domain, row[-5]] = row[-4:-1]
        for answer, metrics in result["metrics"].items():
            means = {**metrics["drawn"]["domains"], "mean of domains": metrics["drawn"]["macro"]}
            for name, mean in means.items():
                expected = [f"{mean[metric]:.4f}" for metric in ("hr@10", "ndcg@10", "mrr")]
                assert shown[name, f"syncrec {answer}"] == expected

    def test_the_matrix_is_that_of_the_file_of_the_analysis(self, hostile_run, cells):
        analysis = json.loads((hostile_run.path / "results" / "transfer-test.json").read_text(encoding="utf-8"))
        (rows,) = (rows for attrs, rows in cells.tables if attrs.get("id") == "transfer-table")
        expected = [
            [cell["target"], cell["source"], f"{cell['full']:.4f}", f"{cell['without']:.4f}"]
            for cell in analysis["transfer"]["answers"]["fused"]
        ]
        assert [[row[0], row[1], row[4], row[5]] for row in rows[1:]] == expected
        assert len(expected) == 9

    def test_the_verdict_is_a_sentence_a_domain(self, content_and_page, text):
        for row in content_and_page[0]["verdicts"][0]["domains"]:
            assert row["sentence"].startswith(row["domain"])
        assert len(re.findall(r"<span data-domain=", text)) == 3

    def test_who_helps_and_harms_is_said_of_the_answer_that_the_verdict_is_about(self, content_and_page):
        content = json.loads(json.dumps(content_and_page[0]))
        for answer, verdict in (("cross", "harms"), ("fused", "neutral")):
            for cell in content["transfer"]["answers"][answer]:
                cell["verdict"] = verdict
        of_cross, _, rest = render_page(content).partition("The numbers, and the other comparisons")
        assert rest
        assert "Harmed by" not in of_cross
        for cell in content["transfer"]["answers"]["fused"]:
            cell["verdict"] = "helps"
        assert render_page(content).count("Helped by") == 3

    def test_a_domain_in_which_the_cross_answer_loses_is_named_at_once(self, content_and_page):
        content = json.loads(json.dumps(content_and_page[0]))
        content["verdicts"][1]["domains"][2]["verdict"] = "loses"
        top = render_page(content).partition("The numbers, and the other comparisons")[0]
        assert "cross answer against the model&#39;s own single-domain answer: " in top
        assert "Worse: <bdi>" in top

    def test_counts_are_those_of_the_dataset(self, hostile_run, cells):
        (rows,) = (rows for attrs, rows in cells.tables if rows[0][:2] == ["domain", "events"])
        counts = hostile_run.dataset.manifest["counts"]
        assert [[row[0], row[1]] for row in rows[1:]] == [[d, f"{counts[d]['events']:,}"] for d in counts]

    def test_it_needs_no_network_and_runs_no_script(self, cells, text):
        assert not any(part in text for part in ("<script", "http://", "https://", "@import"))
        assert not [attrs for _, attrs in cells.tags if "src" in attrs]
        assert text.count("url(") == text.count("url(#")

    def test_a_report_can_be_made_of_plain_json(self, content_and_page):
        json.dumps(content_and_page[0], allow_nan=False)

    def test_what_was_trained_without_a_domain_has_a_matrix_of_its_own(self, content_and_page):
        transfer = content_and_page[0]["transfer"]
        cells = [cell for cell in transfer["answers"]["fused"] if cell["target"] != cell["source"]]
        page = render_page({**content_and_page[0], "retrained": {**transfer, "answers": {"fused": cells}}})
        (rows,) = Cells(page.split("<h3>Trained without a domain</h3>")[1].split("</section>")[0]).tables
        assert [row.count("–") for row in rows[1][1:]] == [1, 1, 1]


class TestHostileNames:
    def test_no_name_becomes_a_tag(self, cells, text):
        assert not {tag for tag, _ in cells.tags} & {"script", "img", "b"}
        assert not [attrs for _, attrs in cells.tags if any(name.startswith("on") for name in attrs)]
        assert "<script" not in text

    def test_names_are_shown_as_they_are(self, cells):
        shown = {row[0] for _, rows in cells.tables for row in rows}
        assert set(HOSTILE_DOMAINS) <= shown

    def test_titles_are_shown_as_they_are(self, text):
        assert "&lt;/style&gt;&lt;script&gt;alert(3)&lt;/script&gt;" in text


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


def open_and_check(browser, page, width, scheme):
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    faults = []
    tab.on("console", lambda message: faults.append(message.text))
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("dialog", lambda dialog: faults.append(dialog.message))
    tab.on("request", lambda request: faults.append(request.url) if not request.url.startswith("file:") else None)
    tab.goto(page.as_uri())
    tab.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert [url for url in faults if not url.startswith("data:,")] == []
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert [each.get_attribute("id") for each in tab.query_selector_all("section")] == SECTIONS
    assert all(each.bounding_box()["width"] > 200 for each in tab.query_selector_all("svg") if each.is_visible())
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]
    tab.close()


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_it_fits_and_says_no_error(browser, content_and_page, width, scheme):
    open_and_check(browser, content_and_page[1], width, scheme)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_page_of_a_run_on_a_real_log_of_four_domains(browser, tmp_path):
    dataset = syncrec.prepare(real_log("amazon_four_domains.csv.gz"), out=tmp_path / "data")
    short = [*TINY, "training.epochs=1", "loss.kind=sampled", "training.batch_size=128"]
    run = syncrec.train(dataset, tmp_path / "run", settings=short, show_progress=False)
    run.evaluate()
    before = time.process_time()
    content = write_report([run], tmp_path / "report.html", ReportOptions())
    assert time.process_time() - before < 60  # 9,624 users
    assert (tmp_path / "report.html").stat().st_size < 5 << 20
    assert [row["domain"] for row in content["verdicts"][0]["domains"]] == list(dataset.domains)
    for width, scheme in ((375, "dark"), (1280, "light")):
        open_and_check(browser, tmp_path / "report.html", width, scheme)
