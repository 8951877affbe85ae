"""Ratios of two series of measurements with their confidence intervals. Pure functions.

The unit of a paired ratio is a round, not a request: both sides of a round run under the same conditions. Logarithms
are averaged, so that twice as fast and half as fast cancel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from console.analysis.steady_state import EQUIVALENCE_MARGIN, log_ratio_of_means, mean_margin

BOOTSTRAP_MIN_ROUNDS = 10
"""Number of rounds from which the bootstrap is used; its interval is too narrow below."""
RESAMPLES = 9999
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Ratio:
    """Geometric mean of the ratios. `low` and `high`: its 95 % confidence interval, None below two rounds."""

    value: float
    low: float | None
    high: float | None
    rounds: int
    """Number of pairs; of unpaired series, the length of the shorter one."""

    @property
    def verdict(self) -> str:
        """`same` if the interval lies within ±3 % of 1, `more` or `less` if it excludes 1, else `undecided`."""
        if self.low is None or self.high is None:
            return "undecided"
        if self.low >= 1 - EQUIVALENCE_MARGIN and self.high <= 1 + EQUIVALENCE_MARGIN:
            return "same"
        if self.low > 1:
            return "more"
        return "less" if self.high < 1 else "undecided"


def paired_ratio(values: Sequence[float | None], baseline: Sequence[float | None]) -> Ratio | None:
    """Returns the mean ratio of `values` to `baseline`, round by round; None if no round has both.

    The interval is a t-interval below BOOTSTRAP_MIN_ROUNDS rounds, else from the BCa bootstrap, which does not assume
    symmetry. Its seed is fixed, so the same rounds always give the same interval.
    """
    logs = [math.log(a / b) for a, b in zip(values, baseline, strict=True) if a and b]
    if not logs:
        return None
    low, high = _interval(logs)
    return Ratio(
        math.exp(fmean(logs)),
        None if low is None else math.exp(low),
        None if high is None else math.exp(high),
        len(logs),
    )


def unpaired_ratio(values: Sequence[float], baseline: Sequence[float]) -> Ratio | None:
    """Returns the ratio of the means with its 95 % interval; None if a side is empty or zero."""
    if not values or not baseline or fmean(values) <= 0 or fmean(baseline) <= 0:
        return None
    rounds = min(len(values), len(baseline))
    interval = log_ratio_of_means(baseline, values)
    if interval is None:
        return Ratio(fmean(values) / fmean(baseline), None, None, rounds)
    difference, half_width = interval
    return Ratio(math.exp(difference), math.exp(difference - half_width), math.exp(difference + half_width), rounds)


def _interval(logs: Sequence[float]) -> tuple[float | None, float | None]:
    mean = fmean(logs)
    if max(logs) - min(logs) < 1e-12:  # equal values: nothing to resample
        return (mean, mean) if len(logs) > 1 else (None, None)
    if len(logs) >= BOOTSTRAP_MIN_ROUNDS:
        return bca(logs)
    margin = mean_margin(logs) or 0.0
    return mean - margin, mean + margin


def bca(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Returns the 95 % interval of the mean by the bias-corrected and accelerated bootstrap (Efron 1987).

    `values` must not all be equal. The acceleration comes from the jackknife, the bias from the share of resampled
    means below the mean.
    """
    import numpy as np

    sample = np.asarray(values, dtype=np.float64)
    count, mean, normal = len(sample), float(sample.mean()), NormalDist()
    drawn = np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))
    means = np.sort(sample[drawn].mean(axis=1))
    below = (np.sum(means < mean) + 0.5 * np.sum(means == mean)) / RESAMPLES
    bias = normal.inv_cdf(min(max(float(below), 1 / RESAMPLES), 1 - 1 / RESAMPLES))
    influences = (sample - mean) / (count - 1)  # change of the mean without each value
    acceleration = float(np.sum(influences**3) / (6 * np.sum(influences**2) ** 1.5))

    def bound(probability: float) -> float:
        shifted = bias + normal.inv_cdf(probability)
        corrected = normal.cdf(bias + shifted / (1 - acceleration * shifted))
        return float(np.quantile(means, corrected))

    return bound((1 - CONFIDENCE) / 2), bound((1 + CONFIDENCE) / 2)
