"""Ranks, metrics and protocols; results as files. Knows no model and no torch."""

from syncrec.evaluation.comparison import Comparison, Contestant, Difference, compare
from syncrec.evaluation.evaluate import Ranks, evaluate_ranks, full_ranks, ranks_of
from syncrec.evaluation.fusion import FUSION_GRID, choose_fusion_weights
from syncrec.evaluation.metrics import METRICS, Summary, all_metrics, metric_values, summarise
from syncrec.evaluation.negatives import NegativeDraw, Rivals
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
from syncrec.evaluation.shared import shared_ranks, shared_sampled_ranks

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
    "NegativeDraw",
    "Provenance",
    "Ranks",
    "Rivals",
    "Scorer",
    "Summary",
    "all_metrics",
    "choose_fusion_weights",
    "compare",
    "compare_groups",
    "evaluate_ranks",
    "find_protocol",
    "full_ranks",
    "load_result",
    "metric_values",
    "ranks_of",
    "result_path",
    "save_result",
    "shared_ranks",
    "shared_sampled_ranks",
    "summarise",
    "versions",
]
