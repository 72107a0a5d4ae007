"""Every registered model runs the contract."""

import pytest
from contract import ModelContract

from syncrec.models.registry import MODELS


@pytest.mark.parametrize("name", sorted(MODELS))
class TestRegisteredModel(ModelContract):
    pass


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_tells_what_it_is_and_where_it_comes_from(name):
    assert MODELS[name].description
    assert MODELS[name].source
