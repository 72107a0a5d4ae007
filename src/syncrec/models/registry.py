"""The models by name, each with a description and its source."""

from collections.abc import Callable
from dataclasses import dataclass

from syncrec.config import ModelConfig
from syncrec.data.catalogue import Catalogue
from syncrec.errors import ConfigError, nearest_names
from syncrec.models.abxi import ABXI
from syncrec.models.bert4rec import BERT4Rec
from syncrec.models.c2dsr import C2DSR
from syncrec.models.cgrec import CGRec
from syncrec.models.gru4rec import GRU4Rec
from syncrec.models.interface import SequentialModel
from syncrec.models.mmoe import MMoE
from syncrec.models.ple import PLE
from syncrec.models.sasrec import SASRec
from syncrec.models.sasrec_single import SASRecSingle
from syncrec.models.syncrec import SyNCRec

__all__ = ["MODELS", "ModelEntry", "build_model", "find_model"]


@dataclass(frozen=True)
class ModelEntry:
    """A model that can be trained."""

    build: Callable[[Catalogue, ModelConfig], SequentialModel]
    description: str
    source: str
    weighs_contributions: bool = False  # training weighs domains by what they contribute to each other


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
    "sasrec-single": ModelEntry(
        SASRecSingle,
        "one causal Transformer a domain over the history in that domain, nothing shared",
        "Kang and McAuley, ICDM 2018, arXiv 1808.09781",
    ),
    "gru4rec": ModelEntry(
        GRU4Rec,
        "gated recurrent units over the hybrid history",
        "Hidasi et al., ICLR 2016, arXiv 1511.06939; Hidasi and Karatzoglou, CIKM 2018, arXiv 1706.03847",
    ),
    "bert4rec": ModelEntry(
        BERT4Rec,
        "one Transformer that reads the hybrid history both ways and fills in masked events",
        "Sun et al., CIKM 2019, arXiv 1904.06690; Petrov and Macdonald, RecSys 2022, arXiv 2207.07483",
    ),
    "mmoe": ModelEntry(
        MMoE,
        "one task a domain: shared experts over the hybrid history, a gate and a tower a domain",
        "Ma et al., KDD 2018",
    ),
    "ple": ModelEntry(
        PLE,
        "one task a domain: shared experts and experts of each domain's own, a gate and a tower a domain",
        "Tang et al., RecSys 2020",
    ),
    "abxi": ModelEntry(
        ABXI,
        "one encoder with low-rank adapters for each domain and the mixture, and an invariant interest between them",
        "Bian et al., WWW 2025, arXiv 2501.15118",
    ),
    "c2dsr": ModelEntry(
        C2DSR,
        "graphs of item transitions, an encoder a domain and one for the hybrid history, infomax between them",
        "Cao et al., CIKM 2022, arXiv 2304.03891",
    ),
    "cgrec": ModelEntry(
        CGRec,
        "one Transformer over the hybrid history, losses weighed by what domains contribute, two levels contrasted",
        "Park et al., CIKM 2023, arXiv 2311.13188",
        weighs_contributions=True,
    ),
}


def build_model(catalogue: Catalogue, config: ModelConfig) -> SequentialModel:
    """The model `config.name`, with fresh weights.

    Raises:
        ConfigError: no such model, or it cannot be built for the catalogue.
    """
    return find_model(config.name).build(catalogue, config)


def find_model(name: str) -> ModelEntry:
    """The registered model of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in MODELS:
        near = nearest_names(name, MODELS)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"model.name: unknown model {name!r}{hint}; known: {', '.join(MODELS)}")
    return MODELS[name]
