import pytest

from syncrec.answers import main_answer


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cross", "single", "fused"], "fused"),
        (["fused"], "fused"),
        (["cross", "single"], "cross"),
        (["popularity"], "popularity"),
        (iter(["single", "fused"]), "fused"),
    ],
)
def test_the_fused_answer_stands_for_a_model_or_else_its_first(names, expected):
    assert main_answer(names) == expected
