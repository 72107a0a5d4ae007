"""One change of a metric with its interval, in values for JSON, and what many of them say together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from syncrec.evaluation.metrics import FloatArray
from syncrec.stats import PairedSample, holm_correction, paired_bootstrap, paired_permutation_test

__all__ = ["effect_content", "with_corrected_verdicts"]

_SIGNIFICANCE = 0.05


def effect_content(
    without: FloatArray, full: FloatArray, users: npt.NDArray[np.int64], *, seed: int = 0, num_tests: int = 1
) -> dict[str, Any]:
    """The change from `full` to `without`, values [Q] of the same queries, resampled by user.

    `num_tests` are those over which p-values will be corrected: the more, the smaller p-values must be able to get.
    """
    sample = PairedSample(without, full, clusters=users)
    change = paired_bootstrap(sample, seed=seed)
    return {
        "num_queries": len(full),
        "full": float(full.mean()),
        "without": float(without.mean()),
        "absolute": change.absolute.content(),
        "relative": change.relative.content(),
        "p_value": paired_permutation_test(sample, seed=seed, num_permutations=max(10_000, 200 * num_tests)),
    }


def with_corrected_verdicts(cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells with a `verdict`, and p-values corrected (Holm) over those of two different domains."""
    pairs = [cell for cell in cells if cell["target"] != cell["source"]]
    corrected = {id(c): p for c, p in zip(pairs, holm_correction([c["p_value"] for c in pairs]), strict=True)}
    finished = [{**cell, "p_value": corrected.get(id(cell), cell["p_value"])} for cell in cells]
    return [{**cell, "verdict": _verdict(cell)} for cell in finished]


def _verdict(cell: dict[str, Any]) -> str:
    low, high = cell["absolute"]["low"], cell["absolute"]["high"]
    if cell["p_value"] >= _SIGNIFICANCE or low <= 0 <= high:
        return "neutral"
    return "helps" if high < 0 else "harms"
