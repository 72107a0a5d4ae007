"""The models by name, each with a description and its source."""

from collections.abc import Callable
from dataclasses import dataclass

from syncrec.config import ModelConfig
from syncrec.data.packing import Catalogue
from syncrec.errors import ConfigError, nearest_names
from syncrec.models.interface import SequentialModel
from syncrec.models.sasrec import SASRec
from syncrec.models.syncrec import SyNCRec

__all__ = ["MODELS", "ModelEntry", "build_model"]


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be trained."""

    build: Callable[[Catalogue, ModelConfig], SequentialModel]
    description: str
    source: str


MODELS: dict[str, ModelEntry] = {
    "syncrec": ModelEntry(
        SyNCRec,
        "cross- and single-domain experts in one network, loss correction by transfer gap",
        "Park et al., SIGIR 2024, arXiv 2407.11245; model.md",
    ),
    "sasrec": ModelEntry(
        SASRec,
        "one causal Transformer over the hybrid history",
        "Kang and McAuley, ICDM 2018, arXiv 1808.09781",
    ),
}


def build_model(catalogue: Catalogue, config: ModelConfig) -> SequentialModel:
    """The model `config.name`, with fresh weights.

    Raises:
        ConfigError: no such model, or it cannot be built for the catalogue.
    """
    entry = MODELS.get(config.name)
    if entry is None:
        near = nearest_names(config.name, MODELS)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"model.name: unknown model {config.name!r}{hint}; known: {', '.join(MODELS)}")
    return entry.build(catalogue, config)
