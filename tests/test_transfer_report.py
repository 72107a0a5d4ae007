"""The report as a whole: which results it takes, and that it is right where the truth is known."""

import os

import pytest

import syncrec
from syncrec.data.simulation import KNOWN_TRANSFER, simulate_log
from syncrec.data.titles import ItemTitles
from syncrec.demo import demo_config
from syncrec.errors import ConfigError
from syncrec.evaluation import load_result, result_path
from syncrec.transfer_report import ReportOptions, current_result, report_content


class TestResultOnDisk:
    def test_it_is_taken_if_it_is_newer_than_the_model(self, hostile_run):
        said = []
        found = current_result(hostile_run, said.append)
        assert said == []
        assert found.users == load_result(result_path(hostile_run.path, "test", "full")).users

    def test_an_older_one_is_made_again(self, hostile_run):
        path, said = result_path(hostile_run.path, "test", "full"), []
        os.utime(path, (1, 1))
        current_result(hostile_run, said.append)
        assert said == [f"evaluating {hostile_run.path}"]
        assert path.stat().st_mtime > 1


def test_no_run_is_refused():
    with pytest.raises(ConfigError, match="needs at least one run"):
        report_content([], ReportOptions(), ItemTitles(), lambda _: None)


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """Five services of which it is known what they are worth to each other."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_log(folder / "log.csv", seed=0)
    return syncrec.prepare(folder / "log.csv", out=folder / "data", max_history=50)


def report_on(services, name, *settings):
    config, out = demo_config(is_simulated=True), services.path.parent / name
    run = syncrec.train(services, out, config=config, settings=settings, show_progress=False)
    return report_content([run], ReportOptions(), ItemTitles(), lambda _: None)


@pytest.fixture(scope="module")
def simulated(services):
    """The content of the report on a run with the defaults."""
    return report_on(services, "related")


@pytest.fixture(scope="module")
def mixed(services):
    """That on a run in which every domain reads all others."""
    return report_on(services, "all", "model.reads=all")


def outcomes(content, candidate):
    """The verdict on each domain of an answer against the single one."""
    rows = next(verdict for verdict in content["verdicts"] if verdict["candidate"] == candidate)["domains"]
    return {row["domain"]: row["verdict"] for row in rows}


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestKnownTransfer:
    def test_what_is_known_to_gain_gains_and_nobody_loses(self, simulated):
        known = {d: "gains" if sign == "positive" else "neutral" for d, sign in KNOWN_TRANSFER.items()}
        assert simulated["verdicts"][0]["candidate"] == "fused answer"
        assert outcomes(simulated, "fused answer") == known
        assert outcomes(simulated, "cross answer") == known

    def test_where_everybody_reads_all_the_plain_joint_answer_ruins_maps_and_fusion_saves_it(self, mixed):
        assert outcomes(mixed, "cross answer")["maps"] == "loses"
        assert set(outcomes(mixed, "fused answer").values()) == {"gains", "neutral"}

    def test_reading_apart_is_worth_more_than_either(self, simulated, mixed):
        ours, theirs = (content["verdicts"][0]["macro"]["candidate"] for content in (simulated, mixed))
        assert ours > 1.1 * theirs

    def test_the_matrix_names_the_three_that_share_a_story_and_nobody_else(self, simulated):
        cells = {(c["target"], c["source"]): c["verdict"] for c in simulated["transfer"]["answers"]["fused"]}
        story = [domain for domain, sign in KNOWN_TRANSFER.items() if sign == "positive"]
        helped = {pair for pair, verdict in cells.items() if verdict == "helps" and pair[0] != pair[1]}
        assert all(source in story and target in story for target, source in helped)
        assert {target for target, _ in helped} == set(story)
        assert {("music", "books"), ("music", "films"), ("films", "books"), ("books", "films")} <= helped
        assert not [pair for pair, verdict in cells.items() if verdict == "harms" and pair[0] in ("calls", "maps")]
