import members
import pytest

from syncrec.errors import OtherProcessError


def test_one_process_alone_has_nothing_to_tell(in_processes):
    assert members.talk() == {
        "sum": [0, 1],
        "rows": [0.0],
        "before": 0,
        "gradient": [0.0],
        "strided": list(range(7)),
    }


@pytest.mark.parametrize("size", [2, 3])
def test_sums_rows_and_gradients_go_through_all_processes(in_processes, size):
    rows = [float(row) for rank in range(size) for row in range(rank + 1)]
    before = 0
    for rank, told in enumerate(in_processes(members.talk, size)):
        assert told["sum"] == [size * (size - 1) // 2, size]
        assert told["rows"] == rows
        assert told["before"] == before
        # Each of the processes multiplies row i by i, so that its gradient is i from each.
        assert told["gradient"] == [size * float(i) for i in range(before, before + rank + 1)]
        assert told["strided"] == list(range(7))
        before += rank + 1


@pytest.mark.parametrize("rank", [0, 1])
def test_what_fails_in_one_process_ends_all_and_each_knows_why(in_processes, rank):
    found = in_processes(members.fail_in, 2, rank)
    assert isinstance(found[rank], FileNotFoundError)
    assert isinstance(found[1 - rank], OtherProcessError)
    assert str(found[1 - rank]) == f"process {rank} of 2: no such thing"


def test_what_fails_nowhere_gives_each_its_own(in_processes):
    assert in_processes(members.fail_in, 2, 5) == [0, 1]
