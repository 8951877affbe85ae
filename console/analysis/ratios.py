"""Ratios of two series of figures with their intervals, and what they prove. Pure.

Rounds, not requests, are the unit of a paired ratio: within one round both sides met the same machine. Logarithms are
averaged, so that twice as fast and half as fast cancel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from console.analysis.steady_state import SAME_WITHIN, mean_margin, welch_logs

BOOTSTRAP_FROM = 10
RESAMPLES = 9999
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Ratio:
    """Geometric mean of the ratios; `low` and `high` bound it at 95 %, None below two rounds."""

    value: float
    low: float | None
    high: float | None
    rounds: int
    """How many pairs it stands on; of unpaired series, the length of the shorter one."""

    @property
    def verdict(self) -> str:
        """`same` when the whole interval lies within 3 %, `more` or `less` when it excludes 1, else `undecided`."""
        if self.low is None or self.high is None:
            return "undecided"
        if self.low >= 1 - SAME_WITHIN and self.high <= 1 + SAME_WITHIN:
            return "same"
        if self.low > 1:
            return "more"
        return "less" if self.high < 1 else "undecided"


def paired_ratio(ours: Sequence[float | None], base: Sequence[float | None]) -> Ratio | None:
    """Round by round, ours over base; a round that either side lacks is left out. None when no round is left.

    A t-interval below ten rounds, where a bootstrap is too narrow; from ten the BCa bootstrap, which does not ask for
    symmetry. Its seed is fixed, so the same rounds always give the same interval.
    """
    logs = [math.log(a / b) for a, b in zip(ours, base, strict=True) if a and b]
    if not logs:
        return None
    low, high = _interval(logs)
    return Ratio(
        math.exp(fmean(logs)),
        None if low is None else math.exp(low),
        None if high is None else math.exp(high),
        len(logs),
    )


def unpaired_ratio(ours: Sequence[float], base: Sequence[float]) -> Ratio | None:
    """Mean of ours over mean of base, its interval Welch's on logarithms; None where a side is empty or zero."""
    if not ours or not base or fmean(ours) <= 0 or fmean(base) <= 0:
        return None
    rounds = min(len(ours), len(base))
    found = welch_logs(base, ours)
    if found is None:
        return Ratio(fmean(ours) / fmean(base), None, None, rounds)
    difference, width = found
    return Ratio(math.exp(difference), math.exp(difference - width), math.exp(difference + width), rounds)


def _interval(logs: Sequence[float]) -> tuple[float | None, float | None]:
    mean = fmean(logs)
    if max(logs) - min(logs) < 1e-12:  # nothing to resample
        return (mean, mean) if len(logs) > 1 else (None, None)
    if len(logs) >= BOOTSTRAP_FROM:
        return bca(logs)
    margin = mean_margin(logs) or 0.0
    return mean - margin, mean + margin


def bca(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean by the bias-corrected and accelerated bootstrap (Efron 1987).

    `values` must not all be equal. The acceleration is the jackknife's, the bias the share of resampled means below
    the mean.
    """
    import numpy as np

    sample = np.asarray(values, dtype=np.float64)
    count, mean, normal = len(sample), float(sample.mean()), NormalDist()
    drawn = np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))
    means = np.sort(sample[drawn].mean(axis=1))
    below = (np.sum(means < mean) + 0.5 * np.sum(means == mean)) / RESAMPLES
    bias = normal.inv_cdf(min(max(float(below), 1 / RESAMPLES), 1 - 1 / RESAMPLES))
    pulls = (sample - mean) / (count - 1)  # how far leaving each value out moves the mean
    acceleration = float(np.sum(pulls**3) / (6 * np.sum(pulls**2) ** 1.5))

    def bound(probability: float) -> float:
        shifted = bias + normal.inv_cdf(probability)
        corrected = normal.cdf(bias + shifted / (1 - acceleration * shifted))
        return float(np.quantile(means, corrected))

    return bound((1 - CONFIDENCE) / 2), bound((1 + CONFIDENCE) / 2)
