"""The evaluation protocols by name. A number without its protocol means nothing, so every result carries one."""

from collections.abc import Mapping
from dataclasses import dataclass

from syncrec.errors import UnknownNameError
from syncrec.evaluation.ranking import Scope

__all__ = ["PROTOCOLS", "EvaluationProtocol", "find_protocol"]


@dataclass(frozen=True)
class EvaluationProtocol:
    """What a target is ranked against.

    `scope` says where candidates come from: the target's domain, or all domains. Without `num_negatives` every
    candidate counts, and a tie has its mean rank; items that the user had before the target are among them only if
    the protocol `keeps_seen`. With it, that many are drawn uniformly without replacement, none from the user's own
    events, and `rank = 1 + number scored strictly higher`.
    """

    name: str
    scope: Scope
    num_negatives: int | None
    description: str
    keeps_seen: bool = False


PROTOCOLS: Mapping[str, EvaluationProtocol] = {
    protocol.name: protocol
    for protocol in (
        EvaluationProtocol(
            "full", "domain", None, "every item of the target's domain, past items kept; ties: mean rank", True
        ),
        EvaluationProtocol(
            "full-unseen", "domain", None, "every item of the target's domain but the user's past ones; ties: mean rank"
        ),
        EvaluationProtocol(
            "sampled-999", "domain", 999, "999 unseen items of the target's domain (ABXI, WWW 2025); ties won"
        ),
        EvaluationProtocol(
            "sampled-100", "all", 100, "100 unseen items of all domains (SyNCRec's released code); ties won"
        ),
    )
}


def find_protocol(name: str) -> EvaluationProtocol:
    """The protocol called `name`.

    Raises:
        UnknownNameError: there is no such protocol; the text lists them.
    """
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS, "the protocols are " + ", ".join(PROTOCOLS))
    return PROTOCOLS[name]
