"""Models that are no run: evaluated at once, from a dataset alone."""

from syncrec.data.dataset import Dataset
from syncrec.evaluation import EvaluationResult
from syncrec.experiments.plan import MEMORY_MODELS

__all__ = ["evaluate_memory_model"]


def evaluate_memory_model(model: str, dataset: Dataset, protocol: str) -> EvaluationResult:
    """The result of one of `MEMORY_MODELS` on the test split."""
    from syncrec.pipeline import evaluate_matrix_factorisation, evaluate_neighbours, evaluate_popularity

    evaluations = (evaluate_popularity, evaluate_neighbours, evaluate_matrix_factorisation)
    return dict(zip(MEMORY_MODELS, evaluations, strict=True))[model](dataset, "test", protocol)
