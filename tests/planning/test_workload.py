import numpy as np
import pytest
from plans import workload

from syncrec.errors import ConfigError
from syncrec.planning.workload import StepShape, history_lengths, sample_batch


def test_histories_keep_their_mean_and_lose_the_two_events_held_out():
    lengths = history_lengths(30, 500)
    assert lengths.mean() == pytest.approx(30 - 2, abs=0.1)
    assert (np.diff(lengths) >= 0).all()
    assert history_lengths(3, 4, spread=0.0).tolist() == [1, 1, 1, 1]
    assert history_lengths(3, 50).min() == 1


@pytest.mark.parametrize("mean", [5, 20, 200])
def test_more_events_give_no_user_a_shorter_history(mean):
    assert (history_lengths(mean + 1, 64) >= history_lengths(mean, 64)).all()


def test_a_batch_asks_for_every_event_once_in_each_view():
    shape = StepShape.of(sample_batch(np.array([4, 6, 10]), [5, 5], 50))
    assert (shape.users, shape.targets) == (3, 20)
    assert shape.cross.tokens == shape.single.tokens == 20
    assert shape.cross.length == 32  # the shortest row there is
    assert 3 <= shape.anchors <= 6


def test_histories_are_cut_to_what_the_model_sees():
    assert StepShape.of(sample_batch(np.array([100, 3]), [5], 8)).targets == 9 + 3


def test_steps_are_those_of_all_devices_together():
    plan = workload("training.batch_size=100", users=2000, processes=4)
    assert (plan.users_a_step, plan.steps) == (100, 5)
    assert plan.step.users == 100
    assert plan.step.targets == pytest.approx(100 * plan.events_per_user, rel=0.01)


def test_a_large_batch_looks_like_a_small_one():
    small, large = (workload(f"training.batch_size={size}", users=10_000, events=200_000).step for size in (512, 4096))
    assert large.targets == pytest.approx(8 * small.targets)
    assert large.cross.length == small.cross.length


@pytest.mark.parametrize(
    ("settings", "sizes", "said"),
    [
        ((), {"events": 5999}, "events must be at least 6,000, got 5,999"),
        ((), {"users": 0}, "users must be at least 1, got 0"),
        ((), {"items": 5}, "items must be at least 2 a domain, got 5 in 3 domains"),
        (("model.name=sasrec",), {}, "got model.name = 'sasrec'"),
        (("model.item_similarity=true",), {}, "got model.item_similarity = true"),
    ],
)
def test_a_workload_that_makes_no_sense_is_refused_in_one_line(settings, sizes, said):
    with pytest.raises(ConfigError, match=said) as error:
        workload(*settings, **sizes)
    assert "\n" not in str(error.value)
