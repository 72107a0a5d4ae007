"""All checks that a prepared dataset answers by itself."""

from syncrec.data.checks import duplicates, leakage, structure
from syncrec.data.checks.rule import Check
from syncrec.data.dataset import Dataset

__all__ = ["RULES", "check_dataset", "check_shape"]

RULES = (*structure.RULES, *leakage.RULES, *duplicates.RULES)


def check_shape(dataset: Dataset) -> list[Check]:
    """Whether the arrays fit each other; where they do not, nothing else can be computed."""
    boundaries = structure.check_boundaries(dataset)
    return [boundaries] if boundaries.has_fired else [boundaries, structure.check_item_numbers(dataset)]


def check_dataset(dataset: Dataset) -> list[Check]:
    """Every other check; `dataset` must have passed `check_shape`."""
    return [
        structure.check_split_parts(dataset),
        structure.check_time_order(dataset),
        leakage.check_popularity(dataset),
        *duplicates.check_item_ids(dataset),
        duplicates.check_user_ids(dataset),
        duplicates.check_identical_histories(dataset),
        duplicates.check_duplicate_events(dataset),
        leakage.check_ties_at_split(dataset),
        leakage.check_ties_by_domain(dataset),
        leakage.check_cold_targets(dataset),
        leakage.check_future_training(dataset),
        leakage.check_repeated_targets(dataset),
    ]
