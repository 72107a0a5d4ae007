from collections import Counter

import numpy as np
import pytest

from syncrec.data.transitions import preceding_items

GROUPS = {"all": [0, 0, 0], "two": [1, 0, 1], "each": [0, 1, 2]}  # of the three domains


def counted(dataset, ends, groups):
    """How often each item comes right before each other, in plain loops."""
    counts = [Counter() for _ in range(dataset.num_items)]
    for user in range(dataset.num_users):
        last = {}
        for item in dataset.items[dataset.user_offsets[user] : ends[user]].tolist():
            place = groups[int(dataset.domain_of(np.asarray([item]))[0])]
            if last.get(place, item) != item:
                counts[item][last[place]] += 1
            last[place] = item
    return counts


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("part", ["train_end", "validation_end"])
@pytest.mark.parametrize("num_kept", [1, 4])
def test_the_most_frequent_predecessors_equal_the_loop(tiny_dataset, groups, part, num_kept):
    ends = getattr(tiny_dataset, part)
    found = preceding_items(tiny_dataset, ends, np.array(groups), num_kept)
    assert found.shape == (tiny_dataset.num_items, num_kept)
    for row, counter in zip(found.tolist(), counted(tiny_dataset, ends, groups), strict=True):
        expected = sorted(counter, key=lambda item: (-counter[item], item))[:num_kept]
        assert row == expected + [-1] * (num_kept - len(expected))


def test_inside_a_group_no_item_of_another_comes_before(tiny_dataset):
    found = preceding_items(tiny_dataset, tiny_dataset.train_end, np.arange(3), 5)
    owners, places = np.nonzero(found >= 0)
    assert (tiny_dataset.domain_of(owners) == tiny_dataset.domain_of(found[owners, places])).all()
    mixed = preceding_items(tiny_dataset, tiny_dataset.train_end, np.zeros(3, int), 5)
    owners, places = np.nonzero(mixed >= 0)
    assert (tiny_dataset.domain_of(owners) != tiny_dataset.domain_of(mixed[owners, places])).any()


def test_without_events_there_are_no_predecessors(tiny_dataset):
    starts = np.asarray(tiny_dataset.user_offsets)[:-1]
    assert (preceding_items(tiny_dataset, starts, np.zeros(3, int), 3) == -1).all()
    assert (preceding_items(tiny_dataset, starts + 1, np.zeros(3, int), 3) == -1).all()
