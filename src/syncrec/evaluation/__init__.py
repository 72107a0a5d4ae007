"""Ranks, metrics and protocols; results as files. Knows no model and no torch."""

from syncrec.evaluation.evaluate import evaluate, full_ranks
from syncrec.evaluation.fusion import FUSION_GRID, choose_fusion_weights
from syncrec.evaluation.metrics import METRICS, Summary, metric_values, summarise
from syncrec.evaluation.protocols import PROTOCOLS, EvaluationProtocol, find_protocol
from syncrec.evaluation.ranking import Scorer
from syncrec.evaluation.results import AnswerRanks, EvaluationResult, Provenance, load_result, save_result, versions

__all__ = [
    "FUSION_GRID",
    "METRICS",
    "PROTOCOLS",
    "AnswerRanks",
    "EvaluationProtocol",
    "EvaluationResult",
    "Provenance",
    "Scorer",
    "Summary",
    "choose_fusion_weights",
    "evaluate",
    "find_protocol",
    "full_ranks",
    "load_result",
    "metric_values",
    "save_result",
    "summarise",
    "versions",
]
