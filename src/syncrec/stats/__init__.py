"""How sure a number is: intervals and tests, used by reports and by A/B experiments alike."""

from syncrec.stats.basics import FloatArray, Interval, holm_correction, wilson_interval
from syncrec.stats.counts import sample_ratio_p_value
from syncrec.stats.covariate import CovariateSums, Past, adjusted_log_ratio
from syncrec.stats.paired import (
    PairedDifference,
    PairedSample,
    paired_bootstrap,
    paired_p_value,
    paired_permutation_test,
)
from syncrec.stats.ratio import Estimate, RatioSums, difference_of_rates, log_ratio_of_rates
from syncrec.stats.sequential import (
    fixed_half_width,
    mixture_scale,
    required_information,
    sequential_half_width,
    sequential_p_value,
)

__all__ = [
    "CovariateSums",
    "Estimate",
    "FloatArray",
    "Interval",
    "PairedDifference",
    "PairedSample",
    "Past",
    "RatioSums",
    "adjusted_log_ratio",
    "difference_of_rates",
    "fixed_half_width",
    "holm_correction",
    "log_ratio_of_rates",
    "mixture_scale",
    "paired_bootstrap",
    "paired_p_value",
    "paired_permutation_test",
    "required_information",
    "sample_ratio_p_value",
    "sequential_half_width",
    "sequential_p_value",
    "wilson_interval",
]
