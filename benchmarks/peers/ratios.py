"""Paired ratios with their intervals. Pure.

Rounds, not requests, are the unit: within one round both sides met the same machine. The logarithms of the rounds'
ratios are averaged, so that twice as fast and half as fast cancel.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

BOOTSTRAP_FROM = 10
RESAMPLES = 9999
CONFIDENCE = 0.95
SAME_WITHIN = 0.03


@dataclass(frozen=True, slots=True)
class Ratio:
    """Geometric mean of the paired ratios; `low` and `high` are None below two rounds."""

    value: float
    low: float | None
    high: float | None
    rounds: int

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

    A t-interval below ten rounds, where a bootstrap is too narrow; from ten the BCa bootstrap (Efron 1987), which does
    not ask for symmetry. Its seed is fixed, so the same rounds always give the same interval.
    """
    logs = np.array([math.log(a / b) for a, b in zip(ours, base, strict=True) if a and b])
    if not len(logs):
        return None
    mean = float(logs.mean())
    low, high = _interval(logs, mean)
    return Ratio(
        math.exp(mean), None if low is None else math.exp(low), None if high is None else math.exp(high), len(logs)
    )


def _interval(logs: "np.ndarray[tuple[int], np.dtype[np.float64]]", mean: float) -> tuple[float | None, float | None]:
    if len(logs) < 2:
        return None, None
    if np.ptp(logs) < 1e-12:  # nothing to resample
        return mean, mean
    if len(logs) < BOOTSTRAP_FROM:
        margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1) * stats.sem(logs))
        return mean - margin, mean + margin
    found = stats.bootstrap(
        (logs,), np.mean, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)
