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
def simulated(tmp_path_factory):
    """The content of the report on five services of which it is known what they are worth to each other."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate_log(folder / "log.csv", seed=0)
    dataset = syncrec.prepare(folder / "log.csv", out=folder / "data", max_history=50)
    run = syncrec.train(dataset, folder / "run", config=demo_config(is_simulated=True), show_progress=False)
    return report_content([run], ReportOptions(), ItemTitles(), lambda _: None)


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestKnownTransfer:
    def test_the_fused_answer_gains_where_there_is_something_to_gain_and_loses_nowhere(self, simulated):
        fused = simulated["verdicts"][0]
        assert fused["candidate"] == "fused answer"
        outcomes = {row["domain"]: row["verdict"] for row in fused["domains"]}
        gaining = {domain for domain, sign in KNOWN_TRANSFER.items() if sign == "positive"}
        assert outcomes == {domain: "gains" if domain in gaining else "neutral" for domain in KNOWN_TRANSFER}

    def test_the_plain_joint_answer_ruins_maps(self, simulated):
        cross = next(verdict for verdict in simulated["verdicts"] if verdict["candidate"] == "cross answer")
        assert {row["domain"]: row["verdict"] for row in cross["domains"]}["maps"] == "loses"

    def test_the_matrix_names_the_three_that_share_a_story_and_nobody_else(self, simulated):
        cells = {(c["target"], c["source"]): c["verdict"] for c in simulated["transfer"]["answers"]["fused"]}
        story = [domain for domain, sign in KNOWN_TRANSFER.items() if sign == "positive"]
        helped = {pair for pair, verdict in cells.items() if verdict == "helps" and pair[0] != pair[1]}
        assert all(source in story and target in story for target, source in helped)
        assert {target for target, _ in helped} == set(story)
        assert {("music", "books"), ("music", "films"), ("films", "books"), ("books", "films")} <= helped
        assert not [pair for pair, verdict in cells.items() if verdict == "harms" and pair[0] in ("calls", "maps")]
