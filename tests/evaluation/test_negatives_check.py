"""The draw of negatives is looked at by itself: right as it is, found where it is not."""

import numpy as np
import pytest

from syncrec.evaluation import sampled
from syncrec.evaluation.negatives_check import check_negatives


def test_the_draw_of_this_package_keeps_its_promise(tiny_dataset):
    check = check_negatives(tiny_dataset)
    queries = sum(len(tiny_dataset.queries(split)) for split in ("validation", "test"))
    assert (check.count, check.total) == (0, 2 * queries)


@pytest.mark.parametrize("num_left_out", [0, 3])
def test_a_draw_that_takes_items_of_the_user_is_found(tiny_dataset, monkeypatch, num_left_out):
    def first_items(dataset, user, start, stop):
        items = np.unique(dataset.history(user)[:num_left_out].astype(np.int64))
        return items[(items >= start) & (items < stop)]

    monkeypatch.setattr(sampled, "seen_items", first_items)
    check = check_negatives(tiny_dataset)
    assert check.is_error
    assert check.examples[0].startswith("sampled-999, validation, user u")
