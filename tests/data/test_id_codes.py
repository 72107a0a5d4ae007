"""The hash table of ids."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from syncrec.data.id_codes import IdCodes


def slow_codes(batches):
    """The obvious version: a dictionary."""
    known = {}
    return [[known.setdefault(text, len(known)) for text in batch] for batch in batches], list(known)


@given(st.lists(st.lists(st.text("abcé", min_size=1, max_size=4), max_size=30), max_size=5))
def test_codes_are_those_of_a_dictionary(batches):
    codes = IdCodes()
    found = [codes.encode(pl.Series(batch, dtype=pl.String)).tolist() for batch in batches]
    assert (found, codes.texts().to_list()) == slow_codes(batches)


def test_a_table_that_grows_many_times_forgets_nothing():
    codes, ids = IdCodes(), [f"item-{number}" for number in range(50_000)]
    for start in range(0, len(ids), 1000):
        codes.encode(pl.Series(ids[start : start + 1000]))
    assert codes.encode(pl.Series(ids)).tolist() == list(range(len(ids)))
    assert codes.texts().to_list() == ids


def test_an_empty_table_has_no_texts():
    assert len(IdCodes()) == 0
    assert IdCodes().texts().to_list() == []
