"""A dataset in which no check finds anything, and what is written from other histories."""

import pytest

from prepared import CLEAN, arrays_of, write


@pytest.fixture
def make(tmp_path):
    """Writes a dataset from histories, or from those in which nothing is wrong, with arrays changed."""

    def build(histories=CLEAN, times=None, split="leave-one-out", **changes):
        return write(tmp_path / "dataset", arrays_of(histories, times), split, **changes)

    return build


@pytest.fixture
def clean(make):
    """Every item of a target is in training, nobody repeats an item, no times tie."""
    return make()
