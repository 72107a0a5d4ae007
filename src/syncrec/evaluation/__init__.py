"""Ranks, metrics and protocols; results as files. Knows no model and no torch."""

from syncrec.evaluation.comparison import Comparison, Contestant, Difference, compare
from syncrec.evaluation.evaluate import evaluate, full_ranks
from syncrec.evaluation.fusion import FUSION_GRID, choose_fusion_weights
from syncrec.evaluation.metrics import METRICS, Summary, all_metrics, metric_values, summarise
from syncrec.evaluation.protocols import PROTOCOLS, EvaluationProtocol, find_protocol
from syncrec.evaluation.ranking import Scorer
from syncrec.evaluation.results import (
    AnswerRanks,
    EvaluationResult,
    Provenance,
    load_result,
    result_path,
    save_result,
    versions,
)
from syncrec.evaluation.seeds import GroupComparison, compare_groups
from syncrec.evaluation.shared import shared_ranks

__all__ = [
    "FUSION_GRID",
    "METRICS",
    "PROTOCOLS",
    "AnswerRanks",
    "Comparison",
    "Contestant",
    "Difference",
    "EvaluationProtocol",
    "EvaluationResult",
    "GroupComparison",
    "Provenance",
    "Scorer",
    "Summary",
    "all_metrics",
    "choose_fusion_weights",
    "compare",
    "compare_groups",
    "evaluate",
    "find_protocol",
    "full_ranks",
    "load_result",
    "metric_values",
    "result_path",
    "save_result",
    "shared_ranks",
    "summarise",
    "versions",
]
