import numpy as np
import pytest

from jobs import HOSTILE_USER
from syncrec.errors import ConfigError, UnknownUserError
from syncrec.transfer_report import explain


@pytest.fixture(scope="module")
def found(hostile_run):
    return explain(hostile_run, HOSTILE_USER, hostile_run.dataset.domains[1], k=3)


def log_shares(run, history, times, domain, answer):
    """log P of every item, by its id."""
    entries = run.recommender().for_history(history, domain, 10_000, answer=answer, times=times)
    scores = np.array([entry.score for entry in entries])
    shares = scores - np.log(np.exp(scores - scores.max()).sum()) - scores.max()
    return dict(zip([entry.item for entry in entries], shares, strict=True))


def test_the_effect_of_an_event_is_what_its_removal_changes(hostile_run, found):
    history = [(event["domain"], event["item"]) for event in found["history"]]
    times = [event["time"] for event in found["history"]]
    items = [entry["item"] for entry in found["answers"]["fused"]]
    whole = log_shares(hostile_run, history, times, found["domain"], "fused")
    for place, event in enumerate(found["history"]):
        rest = [entry for i, entry in enumerate(history) if i != place]
        without = log_shares(
            hostile_run, rest, [t for i, t in enumerate(times) if i != place], found["domain"], "fused"
        )
        assert event["effect"] == pytest.approx(np.mean([whole[i] - without[i] for i in items]), abs=1e-4)


def test_the_items_are_those_that_are_recommended(hostile_run, found):
    for answer, entries in found["answers"].items():
        expected = hostile_run.recommend(HOSTILE_USER, found["domain"], 3, answer=answer)
        assert [(e["rank"], e["item"]) for e in entries] == [(e.rank, e.item) for e in expected]
        assert [e["score"] for e in entries] == pytest.approx([e.score for e in expected], abs=1e-5)


def test_reasons_are_the_strongest_events_that_speak_for_an_item(found):
    reasons = [entry["because"] for entries in found["answers"].values() for entry in entries]
    assert any(reasons)
    for because in reasons:
        effects = [reason["effect"] for reason in because]
        assert effects == sorted(effects, reverse=True)
        assert all(effect > 0.01 for effect in effects)
        assert len(effects) <= 3


def test_refusals(hostile_run):
    with pytest.raises(ConfigError, match="k must be at least 1, got 0"):
        explain(hostile_run, HOSTILE_USER, hostile_run.dataset.domains[0], k=0)
    with pytest.raises(UnknownUserError, match="unknown user 'nobody'"):
        explain(hostile_run, "nobody", hostile_run.dataset.domains[0])
